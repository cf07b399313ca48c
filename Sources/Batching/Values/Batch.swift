/// A list of messages that the handler gets in one call: never empty, in the order in which they were accepted.
public struct Batch<Message: Sendable>: Sendable {
  /// The messages, oldest first.
  @inlinable public var messages: [Message] { contents }

  /// The messages; emptied when the batch is settled, so that their memory can be used again.
  @usableFromInline var contents: [Message]

  /// What first made the batch due.
  public let trigger: Trigger

  /// Which handler call this is for these messages, from 1.
  public let attempt: Int

  /// Names this list of messages, once in the life of its aggregator.
  ///
  /// A retry of the same list keeps the number, so it can serve as an idempotency key; a part of the list gets a new one.
  public let sequenceNumber: Int

  /// Makes a batch, for a test of a handler.
  @inlinable
  public init(messages: [Message], trigger: Trigger = .size, attempt: Int = 1, sequenceNumber: Int = 1) {
    contents = messages
    self.trigger = trigger
    self.attempt = attempt
    self.sequenceNumber = sequenceNumber
  }
}

extension Batch: RandomAccessCollection {
  /// Always 0.
  @inlinable public var startIndex: Int { 0 }

  /// The number of messages.
  @inlinable public var endIndex: Int { contents.count }

  /// The message at an offset from 0.
  @inlinable public subscript(position: Int) -> Message { contents[position] }

  /// Calls `body` with the messages' contiguous storage.
  @inlinable
  public func withContiguousStorageIfAvailable<Result>(
    _ body: (UnsafeBufferPointer<Message>) throws -> Result
  ) rethrows -> Result? {
    try contents.withContiguousStorageIfAvailable(body)
  }
}
