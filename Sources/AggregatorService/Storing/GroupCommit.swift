import AggregatorStorage
import Batching
import Logging
import Synchronization

/// Group commit: requests of many clients are stored in one transaction, and each gets its answer after the commit.
///
/// What is aggregated is requests, so that each is stored whole or not at all. A request weighs as much as it has messages,
/// so that a batch has about `batchSize` of them; one that has more weighs no more than a batch may, and makes a batch of
/// its own. The messages that are held are counted in `room`, exactly, because one weight cannot be both.
final class GroupCommit: Storing {
  private struct PendingRequest: Sendable {
    let stream: StreamName
    let messages: [Message]
    let answer: CheckedContinuation<Outcome, Never>
  }

  private let aggregator: KeyedAggregator<StreamName, PendingRequest>
  private let room: Room

  init(options: ProgramOptions, sink: any Sink, ledger: Ledger, logger: Logger) throws {
    let batchSize = options.batchSize
    let outage = Outage(logger: logger)
    room = Room(capacity: options.capacity, share: batchSize)
    aggregator = try KeyedAggregator(
      name: "requests",
      configuration: Self.configuration(options),
      logger: logger,
      weight: { min($0.messages.count, batchSize) },
      key: \.stream
    ) { stream, batch in
      let messages = batch.count == 1 ? batch[0].messages : batch.flatMap(\.messages)
      try await sink.write(messages, to: stream)
      ledger.stored(messages.count)
      outage.ended()
      for request in batch { request.answer.resume(returning: .stored) }
    } onFailure: { stream, failure in
      for item in failure.items {
        let isRefusal = (item.error as? any RetryAdvising)?.isRetryable == false
        ledger.failed(item.message.messages.count)
        item.message.answer.resume(returning: isRefusal ? .refused(item.error) : .failed(item.error))
      }
      outage.failed(stream: stream, requests: failure.items.count, error: failure.error)
    }
  }

  private static func configuration(_ options: ProgramOptions) -> AggregatorConfiguration {
    AggregatorConfiguration(
      batchSize: options.batchSize,
      linger: options.linger,
      concurrency: options.concurrency,
      // Requests have at least one message, so that `room` is the one that binds; twice, because the share that a key may
      // have of `capacity` is `room`'s to give too.
      capacity: 2 * options.capacity,
      overflow: .reject,
      // Short: a client waits for its answer meanwhile. A longer outage is its to bridge, told by 503 and Retry-After.
      // A request that the store refuses for good must not fail those that it shares a batch with.
      retry: options.maximumAttempts == 1
        ? .never
        : .exponential(
          maximumAttempts: options.maximumAttempts, initial: options.initialBackoff,
          maximum: min(options.maximumBackoff, .milliseconds(500)), isolatesPoisonMessages: true),
      handlerTimeout: options.storeTimeout,
      drainTimeout: options.drainTimeout,
      maximumBatchWeight: options.batchSize
    )
  }

  var held: Int { room.held }

  func store(_ messages: [Message], in stream: StreamName, acknowledge: Acknowledgement) async -> Outcome {
    guard room.take(messages.count, for: stream) else {
      return .full("as many messages are held as may be (--capacity)")
    }
    defer { room.giveBack(messages.count, of: stream) }
    return await withCheckedContinuation { answer in
      switch aggregator.trySend(PendingRequest(stream: stream, messages: messages, answer: answer)) {
      case .accepted: break
      case .full, .tooHeavy: answer.resume(returning: .full("as many messages are held as may be (--capacity)"))
      case .closed: answer.resume(returning: .closing)
      }
    }
  }

  func flush() async throws {
    try await aggregator.flush()
  }

  func run() async throws {
    try await aggregator.run()
  }

  /// Changes what can be changed while it runs.
  func reconfigure(_ options: ProgramOptions) throws {
    var configuration = aggregator.configuration
    configuration.batchSize = options.batchSize
    configuration.linger = options.linger
    configuration.concurrency = options.concurrency
    try aggregator.reconfigure(configuration)
  }
}
