import Foundation
import GRDB

/// The SQLite file of a journal and of dead letters: made, recognised, checked.
struct JournalFile: Sendable {
  let pool: DatabasePool
  let path: String
  /// Random, made with the file: what the identities of messages that have none begin with.
  let id: String

  /// What says to whom the file belongs: "AgJl" in its header.
  private static let application: Int32 = 0x4167_4A6C
  private static let version = 1

  /// Opens the file.
  ///
  /// - Parameters:
  ///   - path: Its path.
  ///   - purpose: What it is for, as in "cannot keep messages in 'path'".
  ///   - mustExist: Whether a file that is missing is an error, and not made.
  /// - Throws: ``ProgramError`` that says what is wrong with it, and what to do.
  init(path: String, purpose: String, mustExist: Bool = false) throws(ProgramError) {
    self.path = path
    try SQLiteFile.checkPath(path, purpose: purpose)
    let size = (try? FileManager.default.attributesOfItem(atPath: path)[.size] as? Int) ?? 0
    if mustExist, size == 0 {
      throw ProgramError("cannot \(purpose) '\(path)': there is no such file; give the path of one that is there")
    }
    // Before it is opened for writing, which changes what it is: a database of another program stays as it was.
    if size > 0 { try Self.recognise(path: path, purpose: purpose) }
    pool = try SQLiteFile.open(path: path, purpose: purpose)
    do {
      id = try pool.writeWithoutTransaction { try Self.prepare($0) }
    } catch {
      try? pool.close()
      throw SQLiteFile.explain(error, path: path, purpose: purpose)
    }
  }

  private static func recognise(path: String, purpose: String) throws(ProgramError) {
    do {
      var configuration = Configuration()
      configuration.readonly = true
      configuration.busyMode = .timeout(5)
      let database = try DatabaseQueue(path: path, configuration: configuration)
      defer { try? database.close() }
      try database.read { _ = try isOurs($0) }
    } catch {
      throw SQLiteFile.explain(error, path: path, purpose: purpose)
    }
  }

  /// Whether it has been made; `false` for an empty database.
  private static func isOurs(_ database: Database) throws -> Bool {
    let application = try Int32.fetchOne(database, sql: "PRAGMA application_id")
    guard application == Self.application else {
      if application == 0, try Int.fetchOne(database, sql: "SELECT count(*) FROM sqlite_master") == 0 { return false }
      throw ProgramError("it is a database of something else; give another path")
    }
    let version = try String.fetchOne(database, sql: "SELECT value FROM meta WHERE key = 'version'")
    guard version == "\(Self.version)" else {
      throw ProgramError(
        "it has the format \(version ?? "(unknown)"), and this program knows \(Self.version); use the program that made "
          + "it, or give another path")
    }
    return true
  }

  /// Makes what is missing; returns the file's id.
  private static func prepare(_ database: Database) throws -> String {
    try database.execute(
      sql: """
        PRAGMA secure_delete = FAST;
        PRAGMA journal_size_limit = \(4 << 20)
        """)
    if try !isOurs(database) {
      // Has to be said before the first table, and VACUUM is what makes it so where the header is written already.
      try database.execute(sql: "PRAGMA auto_vacuum = INCREMENTAL; VACUUM")
      try database.inTransaction(.immediate) {
        // Another process may have been faster.
        if try !isOurs(database) { try makeTables(database) }
        return .commit
      }
    }
    guard let id = try String.fetchOne(database, sql: "SELECT value FROM meta WHERE key = 'id'") else {
      throw ProgramError("it has lost its id; it is damaged: move it away, or give another path")
    }
    return id
  }

  private static func makeTables(_ database: Database) throws {
    try database.execute(
      sql: """
        PRAGMA application_id = \(application);
        CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
        INSERT INTO meta VALUES ('version', '\(version)'), ('id', '\(UUID().uuidString.lowercased())');
        CREATE TABLE journal (
          sequence INTEGER PRIMARY KEY AUTOINCREMENT, stream TEXT NOT NULL, received_at INTEGER NOT NULL,
          size INTEGER NOT NULL, identity TEXT, body TEXT NOT NULL
        );
        CREATE TABLE dead_letters (
          id INTEGER PRIMARY KEY AUTOINCREMENT, stream TEXT NOT NULL, received_at INTEGER NOT NULL, size INTEGER NOT NULL,
          failed_at INTEGER NOT NULL, attempts INTEGER NOT NULL, error TEXT NOT NULL, identity TEXT, body TEXT NOT NULL
        );
        CREATE INDEX dead_letters_stream ON dead_letters (stream);
        CREATE UNIQUE INDEX dead_letters_identity ON dead_letters (stream, identity) WHERE identity IS NOT NULL
        """)
  }

  /// Reads the whole file, and throws if anything in it is not as it should be.
  func check(purpose: String) throws(ProgramError) {
    let found: String?
    do {
      found = try pool.read { try String.fetchOne($0, sql: "PRAGMA quick_check(1)") }
    } catch {
      throw damaged(purpose, "\((error as? DatabaseError)?.message ?? "\(error)")")
    }
    guard found == "ok" else { throw damaged(purpose, found ?? "nothing was said") }
  }

  private func damaged(_ purpose: String, _ what: String) -> ProgramError {
    ProgramError(
      "cannot \(purpose) '\(path)': the database is damaged (\(what.replacing("\n", with: " "))); move it away with its "
        + "-wal file and start anew, then see what `sqlite3 '\(path)' .recover` gets out of it")
  }

  /// Microseconds since 1970-01-01 UTC.
  static var now: Int64 { Int64(Date().timeIntervalSince1970 * 1_000_000) }
}
