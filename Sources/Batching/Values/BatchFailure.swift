/// Messages that will not be tried again, and why: what `onFailure` gets.
public struct BatchFailure<Message: Sendable>: Sendable {
  /// A message and the error that decided its fate.
  public struct Item: Sendable {
    /// The message.
    public var message: Message
    /// Why it failed.
    public var error: any Error

    /// Makes an item, for a test of a failure handler.
    public init(message: Message, error: any Error) {
      self.message = message
      self.error = error
    }
  }

  /// The messages, in the order in which they were accepted, each with its own error.
  public let items: [Item]

  /// The error of the batch; of a partial failure, that of the first item.
  public let error: any Error

  /// Handler calls that these messages were part of; 0 for messages that never reached the handler.
  public let attempts: Int

  /// The number of the list of messages that failed, as in ``Batch/sequenceNumber``.
  public let sequenceNumber: Int

  /// The messages without their errors.
  public var messages: [Message] { items.map(\.message) }

  /// Makes a failure, for a test of a failure handler.
  public init(items: [Item], error: any Error, attempts: Int = 1, sequenceNumber: Int = 1) {
    self.items = items
    self.error = error
    self.attempts = attempts
    self.sequenceNumber = sequenceNumber
  }

  init(messages: [Message], error: any Error, attempts: Int, sequenceNumber: Int) {
    self.init(
      items: messages.map { Item(message: $0, error: error) }, error: error, attempts: attempts,
      sequenceNumber: sequenceNumber)
  }
}
