import AggregatorTestSupport
import Foundation
import GRDB
import Testing

/// An operator drops the table while clients send: it is made again, nobody hangs, and nothing else is lost than what was dropped.
///
/// What the operator takes away is copied in the transaction that drops the table, so that it is known to the message: each that was
/// acknowledged is in the copy or in the new table, and none is in both.
@Suite("Dropped tables", .serialized, .timeLimit(.minutes(10)))
struct DroppedTableTests {
  private let folder: TemporaryFolder

  init() throws {
    folder = try TemporaryFolder()
  }

  private static var times: Int { TortureSize.isFull ? 50 : 3 }

  /// Drops the table several times, and lets it go on between.
  private func dropping(
    _ program: RestartableProgram, journal: Bool, _ drop: () async throws -> Void
  ) async throws -> Clients.Acknowledged {
    try await underLoad(program, statuses: journal ? [200, 202, 503] : [200, 503]) { clients in
      for _ in 0..<Self.times {
        try await drop()
        let before = clients.result.identities.count
        try await eventually("the table is there again") { clients.result.identities.count > before + 20 }
      }
    }
  }

  private func journal(_ isThere: Bool) -> [String] {
    isThere ? ["--journal", folder.file("journal.db"), "--answer-timeout", "1s"] : []
  }

  @Test(arguments: [false, true])
  func `in SQLite`(hasJournal: Bool) async throws {
    let path = folder.file("messages.db")
    let program = try RestartableProgram(["--to", "sqlite:\(path)", "--max-backoff", "200ms"] + journal(hasJournal))
    var configuration = Configuration()
    configuration.busyMode = .timeout(10)
    let result = try await dropping(program, journal: hasJournal) {
      try await DatabaseQueue(path: path, configuration: configuration).write {
        try $0.execute(
          sql: """
            CREATE TABLE IF NOT EXISTS dropped (identity TEXT);
            INSERT INTO dropped SELECT identity FROM messages;
            DROP TABLE messages
            """)
      }
    }
    let stored = try await DatabaseQueue(path: path).read {
      try String.fetchAll($0, sql: "SELECT identity FROM dropped UNION ALL SELECT identity FROM messages")
    }
    expectOnce(result.identities, in: stored)
  }

  @Test(arguments: [false, true])
  func `in PostgreSQL`(hasJournal: Bool) async throws {
    let server = try await PostgresServer()
    let uri = try await server.database()
    try await server.sql("CREATE TABLE dropped (identity TEXT)", uri: uri)
    let program = try RestartableProgram(
      ["--to", uri, "--store-timeout", "5s", "--max-backoff", "200ms"] + journal(hasJournal))
    let result = try await dropping(program, journal: hasJournal) {
      try await server.sql(
        """
        BEGIN;
        LOCK TABLE messages IN ACCESS EXCLUSIVE MODE;
        INSERT INTO dropped SELECT identity FROM messages;
        DROP TABLE messages;
        COMMIT
        """, uri: uri)
    }
    let stored = try await server.sql(
      "SELECT identity FROM dropped UNION ALL SELECT identity FROM messages", uri: uri)
    expectOnce(result.identities, in: stored)
  }
}
