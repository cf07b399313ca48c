import Foundation
package import GRDB

/// How this program opens and closes SQLite databases: durable, with errors in words.
package enum SQLiteFile {
  /// Opens a database with a write-ahead log and `synchronous=FULL`, and makes it where it is missing.
  ///
  /// - Parameters:
  ///   - path: The path of its file.
  ///   - purpose: What it is for, as in "cannot store in 'path'".
  /// - Returns: The database.
  /// - Throws: ``ProgramError`` that says what is wrong with the path or the file, and what to do.
  package static func open(path: String, purpose: String) throws(ProgramError) -> DatabasePool {
    try checkPath(path, purpose: purpose)
    do {
      var configuration = Configuration()
      configuration.busyMode = .timeout(5)
      let pool = try DatabasePool(path: path, configuration: configuration)
      try pool.writeWithoutTransaction { database in
        // The pool has set NORMAL, which loses the last transactions when the power fails.
        try database.execute(sql: "PRAGMA synchronous = FULL")
        let synchronous = try Int.fetchOne(database, sql: "PRAGMA synchronous")
        guard synchronous == 2 else {
          throw ProgramError(
            "SQLite does not take synchronous=FULL, it is at \(synchronous ?? -1): nothing would be durable")
        }
      }
      return pool
    } catch {
      throw explain(error, path: path, purpose: purpose)
    }
  }

  /// Finds out whether there can be a file at a path.
  ///
  /// - Throws: ``ProgramError`` that says what is in the way.
  static func checkPath(_ path: String, purpose: String) throws(ProgramError) {
    let folder = URL(fileURLWithPath: path).deletingLastPathComponent().path
    var isFolder: ObjCBool = false
    if FileManager.default.fileExists(atPath: path, isDirectory: &isFolder), isFolder.boolValue {
      throw ProgramError(
        "cannot \(purpose) '\(path)': it is a folder; give the path of a file, such as \(path)/messages.db")
    }
    if !FileManager.default.fileExists(atPath: folder, isDirectory: &isFolder) {
      throw ProgramError("cannot \(purpose) '\(path)': there is no folder '\(folder)'; make it, or give another path")
    }
    if !isFolder.boolValue {
      throw ProgramError("cannot \(purpose) '\(path)': '\(folder)' is a file and no folder; give another path")
    }
  }

  /// Closes it; the single file holds all then, and can be copied as it is.
  package static func close(_ pool: DatabasePool) async throws {
    // A reader that is at it keeps the log a while: no harm.
    _ = try? await pool.writeWithoutTransaction { try $0.checkpoint(.truncate) }
    try pool.close()
  }

  /// Whether an error is one of the surroundings, which may be other later, and not of the data or the file.
  package static func mayPass(_ code: ResultCode) -> Bool {
    switch code {
    case .SQLITE_FULL, .SQLITE_IOERR, .SQLITE_BUSY, .SQLITE_LOCKED, .SQLITE_CANTOPEN, .SQLITE_NOMEM, .SQLITE_READONLY,
      .SQLITE_PERM, .SQLITE_INTERRUPT, .SQLITE_PROTOCOL:
      true
    default: false
    }
  }

  /// Why a database cannot be used, in words.
  package static func explain(_ error: any Error, path: String, purpose: String) -> ProgramError {
    if let error = error as? ProgramError { return ProgramError("cannot \(purpose) '\(path)': \(error)") }
    guard let error = error as? DatabaseError else { return ProgramError("cannot \(purpose) '\(path)': \(error)") }
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
    return ProgramError("cannot \(purpose) '\(path)': \(why)")
  }
}
