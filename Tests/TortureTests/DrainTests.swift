import AggregatorTestSupport
import Foundation
import GRDB
import Testing

/// SIGTERM under load: it ends in time, and what was acknowledged is there, or in the journal.
@Suite("Drain", .serialized, .timeLimit(.minutes(10)))
struct DrainTests {
  private let folder: TemporaryFolder

  init() throws {
    folder = try TemporaryFolder()
  }

  @Test func `what was taken is stored within the deadline`() async throws {
    let path = folder.file("messages.db")
    let program = try RestartableProgram(["--to", "sqlite:\(path)", "--drain-timeout", "10s"])
    let clients = Clients(port: program.port)
    try await program.start()
    let sending = Task { try await clients.run(32) }
    try await eventually("there is load") { clients.result.identities.count > 100 }
    program.kill(SIGTERM)
    #expect(try await program.end(within: .seconds(20)) == 0, "\(program.errors)")
    let acknowledged = clients.result.identities
    // The clients repeat what was not acknowledged, which nobody takes any more.
    clients.stop()
    sending.cancel()
    _ = await sending.result
    let stored = try await DatabaseQueue(path: path).read {
      try String.fetchAll($0, sql: "SELECT identity FROM messages")
    }
    #expect(Set(acknowledged).subtracting(stored) == [])
    #expect(Set(stored).count == stored.count)
  }

  @Test func `with a sink that is down it ends all the same, and what is left stays in the journal`() async throws {
    let server = try await PostgresServer()
    let uri = try await server.database()
    let journal = folder.file("journal.db")
    let arguments = ["--to", uri, "--journal", journal, "--drain-timeout", "3s", "--store-timeout", "1s"]
    let program = try RestartableProgram(arguments)
    let clients = Clients(port: program.port, prefersAsync: true)
    try await program.start()
    let sending = Task { try await clients.run(8) }
    try await eventually("there is load") { clients.result.identities.count > 20 }
    try await server.stop()
    let before = clients.result.identities.count
    try await eventually("messages go into the journal") { clients.result.identities.count > before + 50 }
    program.kill(SIGTERM)
    #expect(try await program.end(within: .seconds(20)) == 0, "\(program.errors)")
    let acknowledged = clients.result.identities
    clients.stop()
    sending.cancel()
    _ = await sending.result
    let left = try await DatabaseQueue(path: journal).read { try Int.fetchOne($0, sql: "SELECT count(*) FROM journal") }
    #expect(left ?? 0 >= 50)
    try await server.start()
    try await program.start()
    try await eventually("the journal is served first") {
      let stored = try await server.sql("SELECT identity FROM messages", uri: uri)
      return Set(acknowledged).isSubset(of: stored)
    }
    program.kill(SIGTERM)
    #expect(try await program.end() == 0)
    let stored = try await server.sql("SELECT identity FROM messages", uri: uri)
    #expect(Set(stored).count == stored.count)
  }
}
