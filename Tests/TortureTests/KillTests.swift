import AggregatorTestSupport
import BatchingTesting
import Foundation
import GRDB
import Testing

/// kill -9 at random moments, while clients send and repeat: what was acknowledged is there, and nothing is there twice.
@Suite("Killed", .serialized, .timeLimit(.minutes(60)))
struct KillTests {
  private let folder: TemporaryFolder

  init() throws {
    folder = try TemporaryFolder()
  }

  private func killWhileClientsSend(
    _ program: RestartableProgram, prefersAsync: Bool = false
  ) async throws -> Clients.Acknowledged {
    let clients = Clients(port: program.port, prefersAsync: prefersAsync)
    try await program.start()
    let sending = Task { try await clients.run(8, streams: ["messages", "orders"]) }
    do {
      var random = SeededGenerator(seed: TortureSize.seed)
      for _ in 0..<TortureSize.kills {
        try await Task.sleep(for: .microseconds(Int.random(in: 1_000..<150_000, using: &random)))
        program.kill(SIGKILL)
        try await program.end()
        try await program.start()
      }
      clients.stop()
      try await sending.value
    } catch {
      sending.cancel()
      throw error
    }
    program.kill(SIGTERM)
    #expect(try await program.end() == 0, "\(program.errors)")
    return clients.result
  }

  /// Compares what was acknowledged with what is stored, by identity.
  private func expect(_ stored: [String], toBe acknowledged: Clients.Acknowledged) {
    let once = Set(stored)
    #expect(once.count == stored.count, "\(stored.count - once.count) are there twice; seed \(TortureSize.seed)")
    let missing = Set(acknowledged.identities).subtracting(once)
    #expect(missing == [], "\(missing.count) are missing; seed \(TortureSize.seed)")
    #expect(acknowledged.identities.count > TortureSize.kills, "the clients hardly got through")
    print(
      "killed \(TortureSize.kills) times: \(acknowledged.identities.count) messages acknowledged in "
        + "\(acknowledged.attempts) attempts, \(stored.count) stored, statuses \(acknowledged.statuses)")
  }

  @Test func `SQLite: nothing acknowledged is missing, nothing is stored twice`() async throws {
    let path = folder.file("messages.db")
    let program = try RestartableProgram(["--to", "sqlite:\(path)"])
    let acknowledged = try await killWhileClientsSend(program)
    let stored = try await DatabaseQueue(path: path).read { database in
      try ["messages", "orders"].flatMap {
        try String.fetchAll(database, sql: "SELECT identity FROM \"\($0)\"")
      }
    }
    expect(stored, toBe: acknowledged)
  }

  @Test func `PostgreSQL: nothing acknowledged is missing, nothing is stored twice`() async throws {
    let server = try await PostgresServer.shared()
    let uri = try await server.database()
    let program = try RestartableProgram(["--to", uri, "--concurrency", "2"])
    let acknowledged = try await killWhileClientsSend(program)
    expect(try await storedIn(server, uri), toBe: acknowledged)
  }

  @Test func `a journal before PostgreSQL: nothing acknowledged is missing, nothing is stored twice`() async throws {
    let server = try await PostgresServer.shared()
    let uri = try await server.database()
    let program = try RestartableProgram(["--to", uri, "--journal", folder.file("journal.db")])
    let acknowledged = try await killWhileClientsSend(program, prefersAsync: true)
    // What the last run had not forwarded when it was stopped comes first after the next start.
    try await program.start()
    try await eventually("the journal is empty", within: .seconds(60)) {
      try await storedIn(server, uri).count >= acknowledged.identities.count
    }
    program.kill(SIGTERM)
    #expect(try await program.end() == 0, "\(program.errors)")
    expect(try await storedIn(server, uri), toBe: acknowledged)
    #expect(acknowledged.statuses[202] ?? 0 > 0)
  }

  private func storedIn(_ server: PostgresServer, _ uri: String) async throws -> [String] {
    try await server.sql(
      "SELECT identity FROM messages UNION ALL SELECT identity FROM orders", uri: uri)
  }
}
