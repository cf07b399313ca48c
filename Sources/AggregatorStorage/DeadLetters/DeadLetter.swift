/// A message that a sink refuses for good, and why.
package struct DeadLetter: Sendable, Hashable {
  /// Its number; ascending, never used again.
  package let id: Int64
  package let stream: StreamName
  /// When the message was received, in microseconds since 1970-01-01 UTC.
  package let receivedAt: Int64
  /// What the message is known by, the same at each reading.
  package let identity: String
  /// Bytes of the body.
  package let size: Int
  /// Why the sink refused it the last time.
  package let error: String
  /// How often it was given to the sink.
  package let attempts: Int
  /// When it was refused the last time, in microseconds since 1970-01-01 UTC.
  package let failedAt: Int64
  /// The JSON text that the client sent; `nil` when it was not asked for.
  package let body: String?

  /// The message as it is written to a sink.
  func message() -> Message {
    Message(body: body ?? "", receivedAt: receivedAt, identity: identity)
  }
}
