import AggregatorStorage
import Batching
import Logging
import Synchronization

/// Group commit: requests of many clients are stored in one transaction, and each gets its answer after the commit.
///
/// What is aggregated is requests, so that each is stored whole or not at all. A request weighs as much as it has messages,
/// so that a batch has about `batchSize` of them; one that has more weighs no more than a batch may, and makes a batch of
/// its own. The messages that are held are counted here, exactly, because one weight cannot be both.
final class RequestIntake: Sendable {
  /// What becomes of a request.
  enum Outcome: Sendable {
    case stored
    /// More messages are held than there is room for; the client should come again.
    case full
    /// The program is about to end.
    case closing
    case failed(any Error)
  }

  private struct PendingRequest: Sendable {
    let messages: [Message]
    let answer: CheckedContinuation<Outcome, Never>
  }

  private let aggregator: Aggregator<PendingRequest>
  private let heldMessages = Mutex(0)
  private let heldBytes = Atomic(0)
  private let closing = Atomic(false)
  let capacity: Int

  /// The most bytes of bodies that are held, those that are still being read included.
  static let maximumHeldBytes = 256 << 20

  init(options: ProgramOptions, sink: any Sink, ledger: Ledger, logger: Logger) throws {
    let batchSize = options.batchSize
    let isFailing = Flag()
    capacity = options.capacity
    aggregator = try Aggregator(
      name: "requests",
      configuration: AggregatorConfiguration(
        batchSize: batchSize,
        linger: options.linger,
        concurrency: options.concurrency,
        capacity: options.capacity,
        overflow: .reject,
        // Short: a client waits for its answer meanwhile. A longer outage is its to bridge, told by 503 and Retry-After.
        // A request that the store refuses for good must not fail those that it shares a batch with.
        retry: .exponential(
          maximumAttempts: 3, initial: .milliseconds(20), maximum: .milliseconds(500), isolatesPoisonMessages: true),
        drainTimeout: options.drainTimeout,
        maximumBatchWeight: batchSize
      ),
      logger: logger,
      weight: { min($0.messages.count, batchSize) }
    ) { batch in
      let messages = batch.flatMap(\.messages)
      try await sink.write(messages, to: .messages)
      ledger.stored(messages.count)
      if isFailing.exchange(false) { logger.warning("storing works again") }
      for request in batch { request.answer.resume(returning: .stored) }
    } onFailure: { failure in
      // An outage is told when it begins and when it is over, not with each batch.
      let isRefusal = (failure.error as? any RetryAdvising)?.isRetryable == false
      if isRefusal || !isFailing.exchange(true) {
        logger.error("storing failed", metadata: ["requests": "\(failure.items.count)", "error": "\(failure.error)"])
      }
      for item in failure.items {
        ledger.failed(item.message.messages.count)
        item.message.answer.resume(returning: .failed(item.error))
      }
    }
  }

  private final class Flag: Sendable {
    private let value = Atomic(false)

    func exchange(_ new: Bool) -> Bool { value.exchange(new, ordering: .relaxed) }
  }

  /// No more requests are taken; those that were taken are stored.
  func stopTaking() {
    closing.store(true, ordering: .relaxed)
  }

  var isClosing: Bool { closing.load(ordering: .relaxed) }

  /// Takes room for bytes of a body; `false` when there is none.
  func hold(bytes: Int) -> Bool {
    guard heldBytes.add(bytes, ordering: .relaxed).newValue <= Self.maximumHeldBytes else {
      giveBack(bytes: bytes)
      return false
    }
    return true
  }

  func giveBack(bytes: Int) {
    heldBytes.subtract(bytes, ordering: .relaxed)
  }

  /// Messages that are held now.
  var held: Int { heldMessages.withLock { $0 } }

  /// Stores the messages of a request; returns when they are durable, or when they will not be stored.
  func store(_ messages: [Message]) async -> Outcome {
    guard !messages.isEmpty else { return .stored }
    guard !isClosing else { return .closing }
    let hasRoom = heldMessages.withLock { held in
      guard messages.count <= capacity - held else { return false }
      held += messages.count
      return true
    }
    guard hasRoom else { return .full }
    defer { heldMessages.withLock { $0 -= messages.count } }
    return await withCheckedContinuation { answer in
      switch aggregator.trySend(PendingRequest(messages: messages, answer: answer)) {
      case .accepted: break
      case .full, .tooHeavy: answer.resume(returning: .full)
      case .closed: answer.resume(returning: .closing)
      }
    }
  }

  /// Works until its service group shuts down, then stores what is held.
  func run() async throws {
    try await aggregator.run()
  }
}
