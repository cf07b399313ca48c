import AggregatorStorage
import Batching
import Logging

/// Group commit: requests of many clients are stored in one transaction, and each gets its answer after the commit.
///
/// What is aggregated is requests, so that each is stored whole or not at all. A request weighs as much as it has messages,
/// so that a batch has about `batchSize` of them; one that has more weighs no more than a batch may, and makes a batch of
/// its own. Weights are parts of a full batch, so that another batch size needs no other bound. The messages that are held
/// are counted in `room`, exactly, because one weight cannot be both.
final class GroupCommit: Storing {
  private struct PendingRequest: Sendable {
    let stream: StreamName
    let messages: [Message]
    let answer: CheckedContinuation<Outcome, Never>
  }

  private let aggregator: KeyedAggregator<StreamName, PendingRequest>
  private let room: Room
  private let weigher: Weigher
  private let observer: any PipelineObserver

  /// Makes one; refused messages are kept in `deadLetters` where there is such a file.
  init(
    options: ProgramOptions, sink: any Sink, deadLetters: DeadLetters? = nil, observer: any PipelineObserver,
    logger: Logger
  ) throws {
    let weigher = Weigher(batchSize: options.batchSize)
    self.weigher = weigher
    let outage = Outage(logger: logger)
    room = Room(capacity: options.capacity, share: options.batchSize)
    self.observer = observer
    aggregator = try KeyedAggregator(
      name: "requests",
      configuration: Self.configuration(options),
      clock: AlarmClock(),
      logger: logger,
      weight: { weigher.weight(of: $0.messages.count) },
      key: \.stream
    ) { stream, batch in
      try await Self.write(batch, to: stream, sink, observer)
      outage.ended()
      for request in batch { request.answer.resume(returning: .stored) }
    } onFailure: { stream, failure in
      await Self.giveUp(failure, of: stream, deadLetters, observer, logger)
      outage.failed(stream: stream, requests: failure.items.count, error: failure.error)
    }
  }

  private static func write(
    _ batch: Batch<PendingRequest>, to stream: StreamName, _ sink: any Sink, _ observer: any PipelineObserver
  ) async throws {
    let messages = batch.count == 1 ? batch[0].messages : batch.flatMap(\.messages)
    observer.batchBegan(
      stream: stream, messages: messages.count, trigger: batch.trigger, attempt: batch.attempt,
      oldestReceivedAt: messages[0].receivedAt)
    let began = ContinuousClock.now
    do {
      try await sink.write(messages, to: stream)
      observer.batchEnded(stream: stream, messages: messages.count, took: .now - began, error: nil)
    } catch {
      observer.batchEnded(stream: stream, messages: messages.count, took: .now - began, error: error)
      throw error
    }
  }

  private static func giveUp(
    _ failure: BatchFailure<PendingRequest>, of stream: StreamName, _ deadLetters: DeadLetters?,
    _ observer: any PipelineObserver, _ logger: Logger
  ) async {
    for item in failure.items {
      let messages = item.message.messages
      let isRefusal = (item.error as? any RetryAdvising)?.isRetryable == false
      if isRefusal, let deadLetters {
        let burials = messages.map {
          Burial(stream: stream, message: $0, error: "\(item.error)", attempts: failure.attempts)
        }
        do {
          try await deadLetters.keep(burials)
        } catch {
          logger.error("keeping dead letters failed; their client was told", metadata: ["error": "\(error)"])
        }
      }
      observer.buried(stream: stream, messages: messages.count)
      item.message.answer.resume(returning: isRefusal ? .refused(item.error) : .failed(item.error))
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
      retry: .exponential(
        maximumAttempts: options.maximumAttempts, initial: min(options.initialBackoff, longestBackoff),
        maximum: min(options.maximumBackoff, longestBackoff), isolatesPoisonMessages: true),
      handlerTimeout: options.storeTimeout,
      drainTimeout: options.drainTimeout,
      maximumBatchWeight: Weigher.fullBatch
    )
  }

  /// A client waits meanwhile.
  private static let longestBackoff = Duration.milliseconds(500)

  var held: Int { room.held }

  func store(_ messages: [Message], in stream: StreamName, acknowledge: Acknowledgement) async -> Outcome {
    guard room.take(messages.count, for: stream) else {
      return .full("as many messages are held as may be (--capacity)")
    }
    defer { room.giveBack(messages.count, of: stream) }
    // Before they are sent: they may be stored before that returns.
    observer.accepted(stream: stream, messages: messages.count)
    return await withCheckedContinuation { answer in
      let refusal: Outcome
      switch aggregator.trySend(PendingRequest(stream: stream, messages: messages, answer: answer)) {
      case .accepted: return
      case .full, .tooHeavy: refusal = .full("as many messages are held as may be (--capacity)")
      case .closed: refusal = .closing
      }
      observer.buried(stream: stream, messages: messages.count)
      answer.resume(returning: refusal)
    }
  }

  func flush() async throws {
    try await aggregator.flush()
  }

  func run() async throws {
    try await aggregator.run()
  }

  func reconfigure(_ options: ProgramOptions) throws {
    var configuration = aggregator.configuration
    configuration.batchSize = options.batchSize
    configuration.linger = options.linger
    configuration.concurrency = options.concurrency
    configuration.capacity = 2 * options.capacity
    try aggregator.reconfigure(configuration)
    weigher.setBatchSize(options.batchSize)
    room.resize(capacity: options.capacity, share: options.batchSize)
  }
}
