import Batching
import GRDB

/// A journal or a file of dead letters could not be read or written.
package struct JournalError: RetryAdvising, CustomStringConvertible {
  /// What failed, where, why, and what to do, in words for the operator; it never quotes a message.
  package let description: String
  /// Whether it may work later, such as when a disk is full no longer.
  package let isRetryable: Bool
  /// Never known.
  package var retryAfter: Duration? { nil }

  init(_ description: String, isRetryable: Bool) {
    self.description = description
    self.isRetryable = isRetryable
  }

  init(_ error: DatabaseError, path: String, purpose: String) {
    self.init(
      SQLiteFile.explain(error, path: path, purpose: purpose).description,
      isRetryable: SQLiteFile.mayPass(error.resultCode))
  }

  /// Does something with the database; its errors come out in words.
  static func explaining<Output>(
    _ path: String, _ purpose: String, _ work: () async throws -> sending Output
  ) async throws -> sending Output {
    do {
      return try await work()
    } catch let error as DatabaseError {
      throw JournalError(error, path: path, purpose: purpose)
    }
  }
}

/// A request does not fit in the journal now.
package struct JournalFull: Error, Hashable, CustomStringConvertible {
  /// Bytes that it holds.
  package let held: Int
  /// Bytes that it may hold.
  package let maximum: Int
  /// Bytes of the request.
  package let wanted: Int

  /// Whether the request would not fit in an empty journal either.
  package var neverFits: Bool { wanted > maximum }

  /// What is wrong.
  package var description: String {
    neverFits
      ? "the request has \(wanted) bytes, more than the journal may ever hold (\(maximum))"
      : "the journal is full: it holds \(held) of at most \(maximum) bytes"
  }
}
