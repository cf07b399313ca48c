import GRDB
import Synchronization

/// Keeps messages between accepting and storing, durable and in order, in a SQLite database.
///
/// What is appended survives the end of the process, and a power failure if the disk does what `fsync` asks of it. One
/// ``Forwarder`` takes messages out of it. A message that has no identity is given one when it is read, the same at each
/// reading: the journal's id and the message's sequence number. So a message that is written to a sink twice, because the
/// process ended after the sink's commit and before the removal, is stored once where the sink keeps identities.
package final class Journal: Sendable {
  /// A message in the journal.
  package struct Entry: Sendable, Hashable {
    /// Its place: ascending in the order of acceptance, with gaps, never used again.
    package let sequence: Int64
    package let stream: StreamName
    /// With an identity.
    package let message: Message
  }

  /// What it holds.
  package struct Usage: Sendable, Hashable {
    package var messages = 0
    /// The sum of their sizes.
    package var bytes = 0
    /// When the oldest was received, in microseconds since 1970-01-01 UTC; `nil` when there is none.
    package var oldestReceivedAt: Int64?
  }

  private struct State {
    var usage = Usage()
    var lastSequence: Int64 = 0
  }

  static let purpose = "keep messages in"

  let file: JournalFile
  /// Who is told what becomes of messages.
  let receipts = Receipts()
  /// Has an element when something was appended since the last look; one reader.
  let appended: AsyncStream<Void>
  /// The most bytes of messages held.
  package let maximumBytes: Int

  private let lock: FileLock
  private let bell: AsyncStream<Void>.Continuation
  /// Changed by the one writer, after its commits.
  private let state = Mutex(State())

  /// Opens the journal, and makes it where it is missing; reads all of it, to see that it is sound and to count.
  ///
  /// - Parameters:
  ///   - path: The path of the file. `PATH.lock` beside it keeps a second program away.
  ///   - maximumBytes: The most bytes of messages held.
  /// - Throws: ``ProgramError`` for a file that is damaged, of another kind or in use by another program.
  package init(path: String, maximumBytes: Int) throws(ProgramError) {
    self.maximumBytes = maximumBytes
    try SQLiteFile.checkPath(path, purpose: Self.purpose)
    lock = try FileLock(beside: path, purpose: Self.purpose)
    file = try JournalFile(path: path, purpose: Self.purpose)
    (appended, bell) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
    do {
      try file.check(purpose: Self.purpose)
      let found = try file.pool.read(Self.count)
      state.withLock { $0 = found }
    } catch {
      try? file.pool.close()
      throw SQLiteFile.explain(error, path: path, purpose: Self.purpose)
    }
    bell.yield()
  }

  private static func count(_ database: Database) throws -> State {
    let row = try Row.fetchOne(database, sql: "SELECT count(*), sum(size), max(sequence) FROM journal")
    return State(
      usage: Usage(messages: row?[0] ?? 0, bytes: row?[1] ?? 0, oldestReceivedAt: try oldest(database)),
      lastSequence: row?[2] ?? 0)
  }

  /// What it holds now; costs nothing.
  package var usage: Usage { state.withLock { $0.usage } }

  /// The sequence number of the newest message.
  var lastSequence: Int64 { state.withLock { $0.lastSequence } }

  /// The path of its file.
  package var path: String { file.path }

  // MARK: Putting in

  /// Puts in requests, all in one transaction; they are durable when it returns.
  ///
  /// Each fits whole or not at all; one that does not is passed over, and the others are taken.
  ///
  /// - Returns: For each request where its messages are, or that it did not fit.
  /// - Throws: ``JournalError``, such as that the disk is full; `CancellationError`. Nothing was put in then.
  package func append(
    _ requests: [JournalRequest]
  ) async throws -> [Result<ClosedRange<Int64>, JournalFull>] {
    let results = try await JournalError.explaining(path, Self.purpose) {
      try await file.pool.writeWithoutTransaction { try self.append(requests, $0) }
    }
    bell.yield()
    return results
  }

  private func append(
    _ requests: [JournalRequest], _ database: Database
  ) throws -> [Result<ClosedRange<Int64>, JournalFull>] {
    var after = state.withLock { $0 }
    var results: [Result<ClosedRange<Int64>, JournalFull>] = []
    var first: Int64?
    do {
      try database.inTransaction(.immediate) {
        for request in requests {
          let size = request.size
          guard size <= maximumBytes - after.usage.bytes else {
            results.append(.failure(JournalFull(held: after.usage.bytes, maximum: maximumBytes, wanted: size)))
            continue
          }
          let range = try Self.insert(request, database)
          first = first ?? range.lowerBound
          // Before the commit, so before anybody can store them.
          if let receipt = request.receipt { receipts.claim(range, receipt) }
          results.append(.success(range))
          after.usage.messages += request.messages.count
          after.usage.bytes += size
          after.usage.oldestReceivedAt = after.usage.oldestReceivedAt ?? request.messages[0].receivedAt
          after.lastSequence = range.upperBound
        }
        return .commit
      }
    } catch {
      if let first { receipts.withdraw(from: first) }
      throw error
    }
    state.withLock { $0 = after }
    return results
  }

  private static func insert(_ request: JournalRequest, _ database: Database) throws -> ClosedRange<Int64> {
    let insert = try database.cachedStatement(
      sql: "INSERT INTO journal (stream, received_at, size, identity, body) VALUES (?, ?, ?, ?, ?)")
    let stream = request.stream.description
    for message in request.messages {
      insert.setUncheckedArguments([stream, message.receivedAt, message.size, message.identity, message.body])
      try insert.execute()
    }
    let last = database.lastInsertedRowID
    return last - Int64(request.messages.count) + 1...last
  }

  // MARK: Taking out

  /// Removes messages that are settled, in one transaction; those that are not there are passed over.
  ///
  /// - Throws: ``JournalError``, `CancellationError`. Nothing was removed then.
  package func remove(_ sequences: [Int64]) async throws {
    try await JournalError.explaining(path, Self.purpose) {
      try await file.pool.writeWithoutTransaction { database in
        try self.changingUsage(database) { try Self.delete(sequences, database, &$0) }
      }
      try await shrink()
    }
  }

  /// Moves messages that were refused for good to the dead letters, in one transaction.
  ///
  /// - Throws: ``JournalError``, `CancellationError`. Nothing was moved then.
  package func bury(_ burials: [Burial]) async throws {
    try await JournalError.explaining(path, Self.purpose) {
      try await file.pool.writeWithoutTransaction { database in
        try self.changingUsage(database) { usage in
          for burial in burials { try burial.insert(database) }
          try Self.delete(burials.compactMap(\.sequence), database, &usage)
        }
      }
    }
  }

  private func changingUsage(_ database: Database, _ change: (inout Usage) throws -> Void) throws {
    var usage = self.usage
    try database.inTransaction(.immediate) {
      try change(&usage)
      usage.oldestReceivedAt = try Self.oldest(database)
      return .commit
    }
    state.withLock { $0.usage = usage }
  }

  private static func delete(_ sequences: [Int64], _ database: Database, _ usage: inout Usage) throws {
    let count = try database.cachedStatement(
      sql: "SELECT count(*), total(size) FROM journal WHERE sequence BETWEEN ? AND ?")
    let delete = try database.cachedStatement(sql: "DELETE FROM journal WHERE sequence BETWEEN ? AND ?")
    for run in runs(of: sequences) {
      let row = try Row.fetchOne(count, arguments: [run.lowerBound, run.upperBound])
      usage.messages -= row?[0] ?? 0
      usage.bytes -= Int(row?[1] ?? 0.0)
      try delete.execute(arguments: [run.lowerBound, run.upperBound])
    }
  }

  /// As few ranges as hold the numbers, and no others.
  static func runs(of sequences: [Int64]) -> [ClosedRange<Int64>] {
    var runs: [ClosedRange<Int64>] = []
    for sequence in sequences.sorted() {
      if let last = runs.last, sequence <= last.upperBound + 1 {
        runs[runs.count - 1] = last.lowerBound...max(sequence, last.upperBound)
      } else {
        runs.append(sequence...sequence)
      }
    }
    return runs
  }

  private static func oldest(_ database: Database) throws -> Int64? {
    try Int64.fetchOne(
      database.cachedStatement(sql: "SELECT received_at FROM journal ORDER BY sequence LIMIT 1"))
  }

  /// Makes the reader of `appended` look.
  func ring() {
    bell.yield()
  }

  /// Lets go of the file.
  ///
  /// Nothing may be asked of it any more.
  package func close() async throws {
    bell.finish()
    receipts.close()
    defer { lock.release() }
    try await SQLiteFile.close(file.pool)
  }
}
