import Foundation
import GRDB

/// Stores messages in a SQLite database, a table for each stream, a transaction a batch, durable when it is committed.
///
/// `received_at` counts microseconds since 1970-01-01 UTC. Readers may use the database meanwhile (WAL).
package final class SQLiteSink: Sink {
  private static let columns = ["id INTEGER PRIMARY KEY", "received_at INTEGER", "body TEXT", "identity TEXT"]

  private let pool: DatabasePool
  private let path: String
  /// Streams whose tables are known to be right.
  private let prepared: LockedSet<StreamName>

  /// Opens the database, and makes it where it is missing.
  package init(path: String) throws(ProgramError) {
    self.path = path
    prepared = LockedSet()
    pool = try SQLiteFile.open(path: path, purpose: "store in")
  }

  package func write(_ messages: [Message], to stream: StreamName) async throws {
    do {
      try await pool.write { [self] database in
        // Made in the transaction that first needs it: a name that a client made up leaves nothing behind when it fails.
        if !prepared.contains(stream) { try Self.prepare(stream, database) }
        let insert = try database.cachedStatement(
          sql: """
            INSERT INTO "\(stream)" (received_at, body, identity) VALUES (?, ?, ?)
            ON CONFLICT (identity) WHERE identity IS NOT NULL DO NOTHING
            """)
        for message in messages {
          // Unchecked: the number of values is right here and checking it again costs as much as the insert.
          insert.setUncheckedArguments([message.receivedAt, message.body, message.identity])
          try insert.execute()
        }
      }
      prepared.insert(stream)
    } catch let error as DatabaseError {
      // The table may be gone, or other than it was: the next attempt looks, and makes it or says what is wrong.
      let wasPrepared = prepared.remove(stream)
      throw SinkError(
        description: "sqlite:\(path): \(error.message ?? "error") (code \(error.extendedResultCode.rawValue))",
        isRetryable: SQLiteFile.mayPass(error.resultCode) || (wasPrepared && error.resultCode == .SQLITE_ERROR))
    } catch let error as ProgramError {
      // It is the table that is wrong and not the messages: they wait until somebody has mended it.
      throw SinkError(description: "sqlite:\(path): \(error)", isRetryable: true)
    }
  }

  /// Makes the stream's table where it is missing, and sees that it is as it should be.
  private static func prepare(_ stream: StreamName, _ database: Database) throws {
    try database.execute(
      sql: """
        CREATE TABLE IF NOT EXISTS "\(stream)" (
          id INTEGER PRIMARY KEY, received_at INTEGER NOT NULL, body TEXT NOT NULL, identity TEXT
        )
        """)
    // Such a thing is taken for the table by IF NOT EXISTS, has its columns, and refuses every batch.
    let kind = try Row.fetchOne(
      database, sql: "SELECT type, wr FROM pragma_table_list(?) WHERE schema = 'main'", arguments: [stream.description])
    guard let kind, kind["type"] == "table", kind["wr"] == 0 else {
      throw ProgramError(
        "'\(stream)' there is a view or a table WITHOUT ROWID, into which nothing can be written; rename it, or give "
          + "another file")
    }
    // Without its key, `id` would be null in each row.
    let found = try Row.fetchAll(database, sql: "PRAGMA table_info(\"\(stream)\")").map { column in
      "\(column["name"] as String) \((column["type"] as String).uppercased())"
        + (column["pk"] == 0 ? "" : " PRIMARY KEY")
    }
    guard found == columns else {
      throw ProgramError(
        "there is a table '\(stream)' with other columns (\(found.joined(separator: ", "))) than are written "
          + "(\(columns.joined(separator: ", "))); rename it, or give another file")
    }
    try database.execute(
      sql: """
        CREATE UNIQUE INDEX IF NOT EXISTS "\(stream)_identity" ON "\(stream)" (identity) WHERE identity IS NOT NULL
        """)
  }

  /// Makes the table of a stream now, so that one that is unfit is told at the start.
  package func prepare(_ stream: StreamName) throws(ProgramError) {
    do {
      try pool.write { try Self.prepare(stream, $0) }
      prepared.insert(stream)
    } catch {
      throw SQLiteFile.explain(error, path: path, purpose: "store in")
    }
  }

  package func check() async throws {
    do {
      try await pool.writeWithoutTransaction { try $0.execute(sql: "BEGIN IMMEDIATE; ROLLBACK") }
    } catch let error as DatabaseError {
      throw SinkError(description: "sqlite:\(path): \(error.message ?? "error")", isRetryable: true)
    }
  }

  package func close() async throws {
    try await SQLiteFile.close(pool)
  }

  /// For tests: the pragmas of the connection that writes.
  func writerPragma(_ name: String) throws -> String? {
    try pool.writeWithoutTransaction { try String.fetchOne($0, sql: "PRAGMA \(name)") }
  }
}
