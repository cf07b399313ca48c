/// Messages of one of these are in order, and are stored in that order; those of different ones are not in the way of each other.
///
/// A subject of JetStream, or a partition of Kafka.
package struct LogPartition: Sendable, Hashable, CustomStringConvertible {
  /// Its name, unique among those of a consumer.
  package let description: String

  /// Names one.
  package init(_ description: String) {
    self.description = description
  }
}

/// A message that was read from a log and is not acknowledged yet.
package struct LogMessage: Sendable {
  package let partition: LogPartition
  /// Its place in the partition, or in the log; it grows.
  package let position: Int64
  /// The stream into which it is stored.
  package let stream: StreamName
  /// What is stored; its identity is its place in the log, so that one that is delivered again is stored once.
  package let message: Message
  /// How often it was delivered before.
  package let redeliveries: Int
  /// What the engine knows it by.
  package let ticket: Int64

  /// Makes one.
  package init(
    partition: LogPartition, position: Int64, stream: StreamName, message: Message, redeliveries: Int, ticket: Int64
  ) {
    self.partition = partition
    self.position = position
    self.stream = stream
    self.message = message
    self.redeliveries = redeliveries
    self.ticket = ticket
  }
}

/// A member of those who share the messages of a log: JetStream's durable consumer, Kafka's consumer group.
///
/// Backpressure is that nobody asks for more.
package protocol LogConsumer: Sendable {
  /// Waits for messages, and takes at most so many.
  ///
  /// - Returns: At least one; none when ``stop()`` was called.
  /// - Throws: What makes it impossible to go on. An outage of the log does not: it is waited for.
  func next(atMost limit: Int) async throws -> [LogMessage]

  /// Whether a message is still this member's to store: its partition has not been given to another.
  func owns(_ message: LogMessage) -> Bool

  /// Says that messages are in the sink; they will not be delivered again, as far as that can be promised.
  ///
  /// What is not this member's any more is passed over.
  func acknowledge(_ messages: [LogMessage]) async

  /// Says that messages were not stored, so that they are delivered again, to this member or another.
  func giveBack(_ messages: [LogMessage]) async

  /// ``next(atMost:)`` returns no more messages; those that were taken may still be acknowledged.
  func stop()

  /// Acknowledges what is to be, leaves, and lets go of the connection.
  func close() async

  /// What can be seen of it.
  var lag: LogLag { get }
}

/// How far a member is behind.
package struct LogLag: Sendable, Hashable {
  /// Messages in the log that are not acknowledged, as far as this member knows; `nil` when it does not.
  package var messages: Int?
  /// Partitions that are this member's now, or the durable consumer that it takes from.
  package var assigned: [String] = []
  /// The same messages by what is in `assigned`, as far as that is known.
  package var behind: [String: Int] = [:]
  /// Whether other members take from what is in `assigned` too, so that all numbers but `redelivered` are of them together.
  package var isShared = false
  /// Messages that were delivered more than once, since the start.
  package var redelivered = 0

  /// Knows nothing yet.
  package init() {}
}
