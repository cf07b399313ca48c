/// Messages of one stream that go into a journal together, or not at all.
package struct JournalRequest: Sendable {
  /// Their stream.
  package let stream: StreamName
  /// At least one.
  package let messages: [Message]
  /// Told what becomes of them in the sink; `nil` when nobody waits for that.
  package let receipt: Receipt?

  /// Makes a request.
  ///
  /// - Precondition: There is at least one message.
  package init(stream: StreamName, messages: [Message], receipt: Receipt? = nil) {
    precondition(!messages.isEmpty, "a request to the journal has at least one message")
    self.stream = stream
    self.messages = messages
    self.receipt = receipt
  }

  /// Bytes that count against the journal's bound.
  package var size: Int { messages.reduce(0) { $0 + $1.size } }
}
