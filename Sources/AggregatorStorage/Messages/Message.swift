/// A message as it is stored.
package struct Message: Sendable, Hashable {
  /// The JSON text that the client sent.
  package var body: String
  /// When it was received, in microseconds since 1970-01-01 UTC.
  package var receivedAt: Int64
  /// What the client knows it by; `nil` when it has said nothing.
  ///
  /// A sink that keeps identities stores one message with each in a stream, however often it is sent.
  package var identity: String?

  /// Makes a message.
  package init(body: String, receivedAt: Int64, identity: String? = nil) {
    self.body = body
    self.receivedAt = receivedAt
    self.identity = identity
  }

  /// About how many bytes it takes in memory and on disk.
  package var size: Int { body.utf8.count + (identity?.utf8.count ?? 0) + 32 }
}
