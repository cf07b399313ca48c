import Batching

/// Where batches are stored.
protocol Sink: Sendable {
  /// Stores all rows or none; they are durable when it returns.
  func write(_ messages: [Message]) async throws

  /// Lets go of what it holds open. Nothing is written after it.
  func close() async throws
}

/// A batch could not be stored.
struct SinkError: RetryAdvising, CustomStringConvertible {
  let description: String
  /// Whether the same rows may be stored later, such as when a disk is full no longer.
  let isRetryable: Bool
  var retryAfter: Duration? { nil }
}
