import GRDB

/// Messages that a sink refuses for good, kept until an operator has seen to them.
///
/// They are in a journal's file or in one of their own. It can be opened beside a program that uses it.
package final class DeadLetters: Sendable {
  /// Which letters are meant.
  package enum Selection: Sendable, Hashable {
    case all
    case stream(StreamName)
    case ids([Int64])
  }

  static let purpose = "keep dead letters in"

  let file: JournalFile

  /// Opens a file of dead letters.
  ///
  /// - Parameters:
  ///   - path: The path of a journal, or of a file for dead letters alone.
  ///   - mustExist: Whether a file that is missing is an error, and not made.
  /// - Throws: ``ProgramError`` that says what is wrong with the file.
  package init(path: String, mustExist: Bool = false) throws(ProgramError) {
    file = try JournalFile(path: path, purpose: mustExist ? "read dead letters in" : Self.purpose, mustExist: mustExist)
  }

  /// The path of its file.
  package var path: String { file.path }

  /// Keeps messages, in one transaction; they are durable when it returns.
  ///
  /// A letter whose identity its stream has already stays one letter, with the new error.
  ///
  /// - Throws: ``JournalError``, `CancellationError`. None was kept then.
  package func keep(_ burials: [Burial]) async throws {
    try await JournalError.explaining(path, Self.purpose) {
      try await file.pool.write { database in
        for burial in burials { try burial.insert(database) }
      }
    }
  }

  /// Reads letters without their bodies, oldest first.
  ///
  /// - Parameters:
  ///   - selection: Which.
  ///   - limit: The most letters.
  ///   - id: The letter after which it begins.
  /// - Returns: Those that there are.
  /// - Throws: ``JournalError``, `CancellationError`.
  package func list(
    _ selection: Selection = .all, limit: Int = .max, after id: Int64 = 0
  ) async throws -> [DeadLetter] {
    try await read(selection, limit: limit, after: id, bytes: .max, bodies: false)
  }

  /// One letter with its body; `nil` when there is none with that number.
  package func letter(_ id: Int64) async throws -> DeadLetter? {
    try await read(.ids([id]), limit: 1, after: 0, bytes: .max, bodies: true).first
  }

  /// Reads letters; it stops when their bodies have `bytes` bytes or more.
  func read(
    _ selection: Selection, limit: Int, after id: Int64, bytes: Int, bodies: Bool
  ) async throws -> [DeadLetter] {
    try await JournalError.explaining(path, "read dead letters in") {
      try await file.pool.read { database in
        let (condition, arguments) = selection.sql
        let rows = try Row.fetchCursor(
          database,
          sql: """
            SELECT id, stream, received_at, identity, size, error, attempts, failed_at\(bodies ? ", body" : "")
            FROM dead_letters WHERE id > ? AND \(condition) ORDER BY id LIMIT ?
            """,
          arguments: [id] + arguments + [limit])
        var letters: [DeadLetter] = []
        var size = 0
        while size < bytes, let row = try rows.next() {
          let letter = try self.letter(row, body: bodies ? row[8] : nil)
          letters.append(letter)
          size += letter.size
        }
        return letters
      }
    }
  }

  /// How many there are of each stream that has some.
  package func counts() async throws -> [StreamName: Int] {
    try await JournalError.explaining(path, "read dead letters in") {
      try await file.pool.read { database in
        let rows = try Row.fetchAll(database, sql: "SELECT stream, count(*) FROM dead_letters GROUP BY stream")
        return try Dictionary(uniqueKeysWithValues: rows.map { (try self.stream($0[0]), $0[1]) })
      }
    }
  }

  /// Removes letters for good, in one transaction.
  ///
  /// - Returns: How many there were.
  @discardableResult
  package func drop(_ selection: Selection) async throws -> Int {
    try await JournalError.explaining(path, "drop dead letters in") {
      try await file.pool.write { database in
        let (condition, arguments) = selection.sql
        try database.execute(sql: "DELETE FROM dead_letters WHERE \(condition)", arguments: arguments)
        return database.changesCount
      }
    }
  }

  private func letter(_ row: Row, body: String?) throws -> DeadLetter {
    DeadLetter(
      id: row[0], stream: try stream(row[1]), receivedAt: row[2],
      identity: row[3] as String? ?? "\(file.id)/dead/\(row[0] as Int64)", size: row[4], error: row[5],
      attempts: row[6],
      failedAt: row[7], body: body)
  }

  private func stream(_ name: String) throws -> StreamName {
    do {
      return try StreamName(name)
    } catch {
      throw JournalError("cannot read dead letters in '\(path)': the database is damaged: \(error)", isRetryable: false)
    }
  }

  /// Lets go of the file.
  package func close() async throws {
    try await SQLiteFile.close(file.pool)
  }
}

extension DeadLetters.Selection {
  /// A condition on letters, and its arguments.
  fileprivate var sql: (String, StatementArguments) {
    switch self {
    case .all: ("TRUE", [])
    case .stream(let stream): ("stream = ?", [stream.description])
    // As one argument, because the number of arguments is limited.
    case .ids(let ids): ("id IN (SELECT value FROM json_each(?))", ["\(ids)"])
    }
  }
}
