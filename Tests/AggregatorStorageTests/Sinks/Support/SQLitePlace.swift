import AggregatorStorage
import AggregatorTestSupport
import GRDB

extension SinkFixture {
  static let sqlite = SinkFixture(name: "SQLite", keepsIdentities: true, keepsLineBreaks: true) { try SQLitePlace() }
}

private actor SQLitePlace: SinkPlace {
  private let folder: TemporaryFolder
  private var path: String { folder.file("messages.db") }
  private var other: DatabaseQueue?

  init() throws {
    folder = try TemporaryFolder()
  }

  func open() async throws -> any Sink { try SQLiteSink(path: path) }

  func stored(_ stream: StreamName) async throws -> [String] {
    try await DatabaseQueue(path: path).read { database in
      guard try database.tableExists("\(stream)") else { return [] }
      return try String.fetchAll(database, sql: "SELECT body FROM \"\(stream)\" ORDER BY id")
    }
  }

  func obstruct(_ stream: StreamName) async throws {
    try await execute("CREATE VIEW \"\(stream)\" AS SELECT 1 AS body")
  }

  func clear(_ stream: StreamName) async throws {
    try await execute("DROP VIEW \"\(stream)\"")
  }

  private func execute(_ sql: String) async throws {
    try await DatabaseQueue(path: path).write { try $0.execute(sql: sql) }
  }

  func takeAway() async throws {
    var configuration = Configuration()
    configuration.allowsUnsafeTransactions = true
    let other = try DatabaseQueue(path: path, configuration: configuration)
    try await other.writeWithoutTransaction { try $0.execute(sql: "BEGIN IMMEDIATE") }
    self.other = other
  }

  func end() async throws {
    try await other?.writeWithoutTransaction { try $0.execute(sql: "ROLLBACK") }
  }
}
