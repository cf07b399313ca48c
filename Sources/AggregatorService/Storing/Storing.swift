import AggregatorStorage

/// What becomes of a request's messages.
enum Outcome: Sendable {
  /// The sink has them.
  case stored
  /// The journal has them, and the sink will.
  case journaled
  /// There is no room for them; the client should come again.
  case full(String)
  /// The program is about to end.
  case closing
  /// The sink could not store them, and may later; nothing of them is kept.
  case failed(any Error)
  /// The sink refuses them for good; nothing of them is stored.
  case refused(any Error)
  /// The sink refuses some of them, or all, for good; those are kept as dead letters, the others are stored.
  case buried(any Error)
}

/// When a client wants its answer.
enum Acknowledgement: Sendable, Equatable {
  /// When the sink has its messages; where there is a journal, after this time at the latest.
  case committed(within: Duration)
  /// When its messages are durable in the journal; the same as `committed` where there is none.
  case durable
}

/// A way of messages into the sink: directly, or by way of a journal.
protocol Storing: Sendable {
  /// Stores the messages of a request, all or none; returns when it is known what has become of them.
  func store(_ messages: [Message], in stream: StreamName, acknowledge: Acknowledgement) async -> Outcome
  /// Returns when all that was taken before is settled.
  func flush() async throws
  /// Works until its service group shuts down, then stores what is held.
  func run() async throws
  /// Changes what can be changed while it runs.
  func reconfigure(_ options: ProgramOptions) throws
  /// Messages in memory that are not settled.
  var held: Int { get }
}
