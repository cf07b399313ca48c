import Batching

/// Where batches are stored.
///
/// What each of them promises is in `docs/guarantees.md`; the tests of all are in `SinkSuite`.
package protocol Sink: Sendable {
  /// Stores messages of one stream, all or none, in their order; they are durable when it returns.
  ///
  /// Where the sink keeps identities, a message whose identity the stream has already is passed over, also within the
  /// messages. The place for the stream is made when it is first written to. Streams may be written at the same time; a
  /// sink that has one writer lines the calls up.
  ///
  /// - Throws: ``SinkError``; nothing was stored then, or it is not known (a connection that broke at the commit).
  func write(_ messages: [Message], to stream: StreamName) async throws

  /// Finds out whether it could store now.
  ///
  /// - Throws: ``SinkError`` that says why not.
  func check() async throws

  /// Lets go of what it holds open. Nothing is written after it.
  func close() async throws
}

/// A batch could not be stored.
package struct SinkError: RetryAdvising, CustomStringConvertible {
  /// What failed, where, and why, in words for the operator; it never quotes a message.
  package let description: String
  /// Whether the same messages may be stored later, such as when a disk is full no longer.
  package let isRetryable: Bool
  /// How long to wait at least, where the other side has said it.
  package let retryAfter: Duration?

  /// Makes an error.
  package init(description: String, isRetryable: Bool, retryAfter: Duration? = nil) {
    self.description = description
    self.isRetryable = isRetryable
    self.retryAfter = retryAfter
  }
}
