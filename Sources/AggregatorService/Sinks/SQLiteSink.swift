import Foundation
import GRDB

/// Stores rows in a SQLite database, a transaction a batch, durable when it is committed.
///
/// The table is `messages(id INTEGER PRIMARY KEY, received_at INTEGER NOT NULL, body TEXT NOT NULL)`; `received_at` counts
/// microseconds since 1970-01-01 UTC. Readers may use the database meanwhile (WAL).
final class SQLiteSink: Sink {
  private static let columns = ["id INTEGER PRIMARY KEY", "received_at INTEGER", "body TEXT"]

  private let pool: DatabasePool
  private let path: String

  /// Opens the database, and makes it where it is missing.
  init(path: String) throws(ProgramError) {
    self.path = path
    let folder = URL(fileURLWithPath: path).deletingLastPathComponent().path
    var isFolder: ObjCBool = false
    if FileManager.default.fileExists(atPath: path, isDirectory: &isFolder), isFolder.boolValue {
      throw ProgramError(
        "cannot store in '\(path)': it is a folder; give the path of a file, sqlite:\(path)/messages.db")
    }
    if !FileManager.default.fileExists(atPath: folder, isDirectory: &isFolder) {
      throw ProgramError("cannot store in '\(path)': there is no folder '\(folder)'; make it, or give another path")
    }
    if !isFolder.boolValue {
      throw ProgramError("cannot store in '\(path)': '\(folder)' is a file and no folder; give another path")
    }
    do {
      var configuration = Configuration()
      configuration.label = "messages"
      configuration.busyMode = .timeout(5)
      pool = try DatabasePool(path: path, configuration: configuration)
      try Self.prepare(pool)
    } catch {
      throw Self.explain(error, path: path)
    }
  }

  private static func prepare(_ pool: DatabasePool) throws {
    try pool.writeWithoutTransaction { database in
      // The pool has set NORMAL, which loses the last transactions when the power fails.
      try database.execute(sql: "PRAGMA synchronous = FULL")
      let synchronous = try Int.fetchOne(database, sql: "PRAGMA synchronous")
      guard synchronous == 2 else {
        throw ProgramError(
          "SQLite does not take synchronous=FULL, it is at \(synchronous ?? -1): nothing would be durable")
      }
      try database.execute(
        sql: """
          CREATE TABLE IF NOT EXISTS messages (
            id INTEGER PRIMARY KEY, received_at INTEGER NOT NULL, body TEXT NOT NULL
          )
          """)
      // Such a thing is taken for the table by IF NOT EXISTS, has its columns, and refuses every batch.
      let kind = try Row.fetchOne(
        database, sql: "SELECT type, wr FROM pragma_table_list('messages') WHERE schema = 'main'")
      guard let kind, kind["type"] == "table", kind["wr"] == 0 else {
        throw ProgramError(
          "'messages' there is a view or a table WITHOUT ROWID, into which nothing can be written; rename it, or give "
            + "another file")
      }
      // Without its key, `id` would be null in each row.
      let found = try Row.fetchAll(database, sql: "PRAGMA table_info(messages)").map { column in
        "\(column["name"] as String) \((column["type"] as String).uppercased())"
          + (column["pk"] == 0 ? "" : " PRIMARY KEY")
      }
      guard found == columns else {
        throw ProgramError(
          "there is a table 'messages' with other columns (\(found.joined(separator: ", "))) than are written "
            + "(\(columns.joined(separator: ", "))); rename it, or give another file")
      }
    }
  }

  func write(_ messages: [Message]) async throws {
    do {
      try await pool.write { database in
        let insert = try database.cachedStatement(sql: "INSERT INTO messages (received_at, body) VALUES (?, ?)")
        for message in messages {
          // Unchecked: the number of values is right here and checking it again costs as much as the insert.
          insert.setUncheckedArguments([message.receivedAt, message.body])
          try insert.execute()
        }
      }
    } catch let error as DatabaseError {
      throw SinkError(
        description: "sqlite:\(path): \(error.message ?? "error") (code \(error.extendedResultCode.rawValue))",
        isRetryable: Self.mayPass(error.resultCode))
    }
  }

  /// Whether an error is one of the surroundings, which may be other later, and not of the data or the file.
  private static func mayPass(_ code: ResultCode) -> Bool {
    switch code {
    case .SQLITE_FULL, .SQLITE_IOERR, .SQLITE_BUSY, .SQLITE_LOCKED, .SQLITE_CANTOPEN, .SQLITE_NOMEM, .SQLITE_READONLY,
      .SQLITE_PERM, .SQLITE_INTERRUPT, .SQLITE_PROTOCOL:
      true
    default: false
    }
  }

  func close() async throws {
    // The single file holds all then, and can be copied as it is. A reader that is at it keeps the log a while: no harm.
    _ = try? await pool.writeWithoutTransaction { try $0.checkpoint(.truncate) }
    try pool.close()
  }

  private static func explain(_ error: any Error, path: String) -> ProgramError {
    if let error = error as? ProgramError { return ProgramError("cannot store in '\(path)': \(error)") }
    guard let error = error as? DatabaseError else { return ProgramError("cannot store in '\(path)': \(error)") }
    let why =
      switch error.resultCode {
      case .SQLITE_NOTADB: "the file is not a SQLite database; give another path"
      case .SQLITE_CANTOPEN:
        "the file cannot be opened or made; see that this user may read and write it and its folder"
      case .SQLITE_READONLY, .SQLITE_PERM, .SQLITE_AUTH:
        "the file or its folder is read-only for this user; change that, or give another path"
      case .SQLITE_FULL: "the disk is full; make room"
      case .SQLITE_IOERR: "reading or writing it failed (\(error.message ?? "no reason given")); see to the disk"
      case .SQLITE_BUSY, .SQLITE_LOCKED: "another program has it locked; stop that program, or give another path"
      case .SQLITE_CORRUPT: "the database is damaged; restore it, or give another path"
      default: "\(error)"
      }
    return ProgramError("cannot store in '\(path)': \(why)")
  }

  /// For tests: the pragmas of the connection that writes.
  func writerPragma(_ name: String) throws -> String? {
    try pool.writeWithoutTransaction { try String.fetchOne($0, sql: "PRAGMA \(name)") }
  }
}
