import AggregatorTestSupport
import Foundation
import GRDB
import Testing

@testable import AggregatorStorage

@Suite("SQLite sink")
struct SQLiteSinkTests {
  private let folder: TemporaryFolder
  private var path: String { folder.file("messages.db") }

  init() throws {
    folder = try TemporaryFolder()
  }

  private func messages(_ bodies: [String]) -> [Message] {
    bodies.map { Message(body: $0, receivedAt: 7) }
  }

  private func stored(_ path: String) throws -> [String] {
    try DatabaseQueue(path: path).read { try String.fetchAll($0, sql: "SELECT body FROM messages ORDER BY id") }
  }

  @Test func `it is durable: write-ahead log, and really synchronous`() async throws {
    let sink = try SQLiteSink(path: path)
    #expect(try sink.writerPragma("journal_mode") == "wal")
    #expect(try sink.writerPragma("synchronous") == "2")
    try await sink.write(messages(["1"]), to: .messages)
    #expect(try sink.writerPragma("synchronous") == "2")
    try await sink.close()
  }

  @Test func `messages come back in order, to the letter`() async throws {
    let sink = try SQLiteSink(path: path)
    let bodies = [
      "1", #"{"b":1,  "a":2}"#, "\"é€😀\"", "123456789012345678901234567890",
      "\"\(String(repeating: "x", count: 1 << 20))\"",
    ]
    try await sink.write(messages(bodies), to: .messages)
    try await sink.write(messages(["true"]), to: .messages)
    try await sink.close()
    #expect(try stored(path) == bodies + ["true"])
    #expect(!FileManager.default.fileExists(atPath: path + "-wal"), "the single file holds all")
  }

  @Test func `an existing database is gone on with`() async throws {
    for body in ["1", "2"] {
      let sink = try SQLiteSink(path: path)
      try await sink.write(messages([body]), to: .messages)
      try await sink.close()
    }
    #expect(try stored(path) == ["1", "2"])
  }

  @Test func `a batch is one transaction: a reader sees all of it or nothing`() async throws {
    let sink = try SQLiteSink(path: path)
    try sink.prepare(.messages)
    let reader = try DatabasePool(path: path)
    let writing = Task {
      for _ in 0..<40 { try await sink.write(messages(Array(repeating: "1", count: 250)), to: .messages) }
    }
    var counts: Set<Int> = []
    while counts.max() ?? 0 < 10_000 {
      let count = try await reader.read { try Int.fetchOne($0, sql: "SELECT count(*) FROM messages") } ?? 0
      counts.insert(count)
    }
    try await writing.value
    #expect(counts.allSatisfy { $0.isMultiple(of: 250) })
    try reader.close()
    try await sink.close()
  }

  @Test func `a full disk is told, nothing of the batch is stored, and it goes on when there is room`() async throws {
    let sink = try SQLiteSink(path: path)
    try await sink.write(messages(["1"]), to: .messages)
    // SQLite's own limit on the file stands for that of the disk: the same error, at the same place.
    #expect(try sink.writerPragma("max_page_count = 20") != nil)
    let large = messages(Array(repeating: "\"\(String(repeating: "x", count: 1_000))\"", count: 200))
    let error = await #expect(throws: SinkError.self) { try await sink.write(large, to: .messages) }
    #expect(error?.isRetryable == true)
    #expect(error?.description.contains("full") == true)
    try await sink.write(messages(["2"]), to: .messages)
    _ = try sink.writerPragma("max_page_count = 100000")
    try await sink.write(large, to: .messages)
    try await sink.close()
    #expect(try stored(path) == ["1", "2"] + large.map(\.body))
  }

  @Test func `a table that was dropped is made again by the next attempt`() async throws {
    let sink = try SQLiteSink(path: path)
    try await sink.write(messages(["0"]), to: .messages)
    try await DatabaseQueue(path: path).write { try $0.execute(sql: "DROP TABLE messages") }
    let error = await #expect(throws: SinkError.self) { try await sink.write(messages(["1"]), to: .messages) }
    #expect(error?.isRetryable == true)
    try await sink.write(messages(["1"]), to: .messages)
    #expect(try stored(path) == ["1"])
    try await sink.close()
  }

  @Test func `a database that is read-only for a while is gone on with`() async throws {
    let sink = try SQLiteSink(path: path)
    _ = try sink.writerPragma("query_only = 1")
    let error = await #expect(throws: SinkError.self) { try await sink.write(messages(["1", "2"]), to: .messages) }
    #expect(error?.isRetryable == true)
    _ = try sink.writerPragma("query_only = 0")
    try await sink.write(messages(["1", "2"]), to: .messages)
    try await sink.close()
    #expect(try stored(path) == ["1", "2"])
  }

  @Test func `while another program writes it, it is busy, which passes`() async throws {
    let sink = try SQLiteSink(path: path)
    var configuration = Configuration()
    configuration.allowsUnsafeTransactions = true  // It stays open from one call to the next.
    let other = try DatabaseQueue(path: path, configuration: configuration)
    try await other.writeWithoutTransaction { try $0.execute(sql: "BEGIN IMMEDIATE") }
    let error = await #expect(throws: SinkError.self) { try await sink.write(messages(["1"]), to: .messages) }
    #expect(error?.isRetryable == true)
    try await other.writeWithoutTransaction { try $0.execute(sql: "COMMIT") }
    try await sink.write(messages(["1"]), to: .messages)
    try await sink.close()
    #expect(try stored(path) == ["1"])
  }

  @Test(arguments: [
    (
      "CREATE TABLE messages (id INTEGER, received_at INTEGER, body TEXT, identity TEXT)",
      "other columns (id INTEGER, received_at"
    ),
    (
      "CREATE TABLE messages (id INTEGER PRIMARY KEY, received_at INTEGER NOT NULL, body TEXT NOT NULL, identity TEXT) WITHOUT ROWID",
      "a view or a table WITHOUT ROWID"
    ),
    (
      "CREATE TABLE t (id INTEGER PRIMARY KEY, received_at INTEGER, body TEXT, identity TEXT); CREATE VIEW messages AS SELECT * FROM t",
      "a view or a table WITHOUT ROWID"
    ),
  ])
  func `what has the columns and yet takes no rows is refused at once`(schema: String, words: String) throws {
    try DatabaseQueue(path: path).write { try $0.execute(sql: schema) }
    #expect(performing: { try SQLiteSink(path: path).prepare(.messages) }, throws: { "\($0)".contains(words) })
  }

  @Test func `what cannot be opened is said in words`() throws {
    try Data("this is no database, whatever its name is; it is text".utf8).write(to: URL(fileURLWithPath: path))
    try FileManager.default.createDirectory(atPath: folder.file("sub"), withIntermediateDirectories: true)
    try DatabaseQueue(path: folder.file("other.db")).write { try $0.execute(sql: "CREATE TABLE messages (x INT)") }
    for (path, words) in [
      (path, "is not a SQLite database"),
      (folder.file("none/messages.db"), "there is no folder"),
      (folder.file("sub"), "it is a folder"),
      (path + "/messages.db", "is a file and no folder"),
      (folder.file("other.db"), "other columns (x INT)"),
    ] {
      #expect {
        try SQLiteSink(path: path).prepare(.messages)
      } throws: { error in
        "\(error)".contains(words) && "\(error)".contains(path)
      }
    }
  }

  @Test func `a database that another program has locked is said to be so`() async throws {
    try await SQLiteSink(path: path).close()
    let other = try DatabaseQueue(path: path)
    try await other.writeWithoutTransaction { database in
      try database.execute(sql: "PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE")
      #expect(performing: { try SQLiteSink(path: path).prepare(.messages) }, throws: { "\($0)".contains("locked") })
      try database.execute(sql: "ROLLBACK")
    }
  }
}
