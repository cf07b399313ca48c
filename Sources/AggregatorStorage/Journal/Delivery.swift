import Batching
import Logging
import Synchronization

/// Writes batches of a journal's messages to a sink, and says of each message what is to become of it.
///
/// A message is written, or refused for good and buried with the dead letters; else it stays in the journal.
final class Delivery: Sendable {
  private struct State {
    var isStopping = false
    /// Of these no more is tried: the end is near, and their places in the sink do not work.
    var leaving: Set<StreamName> = []
    var failing: Set<StreamName> = []
    var remover: Aggregator<Int64>?
    var fatal: (any Error)?
  }

  private let journal: Journal
  private let sink: any Sink
  private let deadLetters: DeadLetters?
  private let options: ForwarderOptions
  private let observer: any PipelineObserver
  private let logger: Logger
  private let state = Mutex(State())

  init(
    journal: Journal, sink: any Sink, deadLetters: DeadLetters?, options: ForwarderOptions,
    observer: any PipelineObserver, logger: Logger
  ) {
    self.journal = journal
    self.sink = sink
    self.deadLetters = deadLetters
    self.options = options
    self.observer = observer
    self.logger = logger
  }

  /// Begins to work; returns `false` when it has begun before.
  func begin(_ remover: Aggregator<Int64>) -> Bool {
    state.withLock { state in
      guard state.remover == nil else { return false }
      state.remover = remover
      return true
    }
  }

  /// From now on a sink that does not work is not waited for.
  func stop() {
    state.withLock { $0.isStopping = true }
  }

  /// Remembers why it cannot go on; the first reason counts.
  func fail(_ error: any Error) {
    state.withLock { $0.fatal = $0.fatal ?? error }
  }

  var isStopping: Bool { state.withLock { $0.isStopping } }
  var fatal: (any Error)? { state.withLock { $0.fatal } }

  // MARK: Writing

  /// Writes a batch; the handler of the aggregator.
  ///
  /// It isolates refused messages itself, rather than have the aggregator do so, because a part of a batch has one attempt
  /// there: an outage meanwhile would be the end of messages that nobody has refused.
  func write(_ batch: Batch<Journal.Entry>, to stream: StreamName) async throws {
    guard !state.withLock({ $0.leaving.contains(stream) }) else { throw LeftInJournal() }
    let messages = batch.map(\.message)
    let outcome = await IsolatingWrite(count: batch.count) { range, isPart in
      try await write(
        Array(messages[range]), to: stream, trigger: isPart ? .split : batch.trigger, attempt: batch.attempt)
    }
    let stored = outcome.stored(of: batch.count).map { batch[$0].sequence }
    if !stored.isEmpty {
      await remove(stored)
      journal.receipts.settle(stored)
      works(stream)
    }
    var failures: [Int: any Error] = outcome.refused
    if let (from, error) = outcome.stopped {
      let error = failed(stream, error)
      if from == 0 { throw error }
      for offset in from..<batch.count { failures[offset] = error }
    }
    if !failures.isEmpty { throw PartialBatchFailure(failures) }
  }

  private func write(_ messages: [Message], to stream: StreamName, trigger: Trigger, attempt: Int) async throws {
    observer.batchBegan(
      stream: stream, messages: messages.count, trigger: trigger, attempt: attempt,
      oldestReceivedAt: messages[0].receivedAt)
    let began = ContinuousClock.now
    do {
      try await withTimeLimit(options.writeTimeout) { [sink] in try await sink.write(messages, to: stream) }
      observer.batchEnded(stream: stream, messages: messages.count, took: .now - began, error: nil)
    } catch {
      observer.batchEnded(stream: stream, messages: messages.count, took: .now - began, error: error)
      throw error
    }
  }

  private func remove(_ sequences: [Int64]) async {
    // It has room for all that there can be, and outlives the writing: it does not wait and does not fail.
    try? await state.withLock({ $0.remover })?.send(contentsOf: sequences)
  }

  /// An outage is told when it begins and when it is over, not with each batch.
  private func works(_ stream: StreamName) {
    if state.withLock({ $0.failing.remove(stream) }) != nil {
      logger.notice("storing works again", metadata: ["stream": "\(stream)"])
    }
  }

  /// Returns the error that says what is to become of the messages.
  private func failed(_ stream: StreamName, _ error: any Error) -> any Error {
    let (isNew, isLeaving) = state.withLock { state in
      if state.isStopping { state.leaving.insert(stream) }
      return (state.failing.insert(stream).inserted, state.isStopping)
    }
    if isNew, !isLeaving {
      logger.error(
        "storing failed, to be tried again until it works", metadata: ["stream": "\(stream)", "error": "\(error)"])
    }
    return isLeaving ? LeftInJournal() : error
  }

  /// What is to stay in the journal: to the aggregator a refusal, so that it is not tried again.
  private struct LeftInJournal: RetryAdvising {
    var isRetryable: Bool { false }
    var retryAfter: Duration? { nil }
  }

  // MARK: Burying

  /// Buries messages that were refused; those that were not stay in the journal.
  ///
  /// The aggregator calls it with messages that it gives up, which apart from refusals it does only at its end.
  func giveUp(_ failure: BatchFailure<Journal.Entry>, of stream: StreamName) async {
    var burials: [Burial] = []
    var errors: [Int64: any Error] = [:]
    for item in failure.items {
      guard let refusal = item.error as? Refusal else { continue }
      burials.append(
        Burial(item.message, error: "\(refusal)", attempts: failure.attempts - 1 + refusal.attempts))
      errors[item.message.sequence] = refusal.error
    }
    guard !burials.isEmpty, await bury(burials) else { return }
    journal.receipts.settle(burials.compactMap(\.sequence), refused: errors)
    observer.buried(stream: stream, messages: burials.count)
    logger.error(
      "messages were refused, and are kept as dead letters",
      metadata: ["stream": "\(stream)", "messages": "\(burials.count)", "error": "\(burials[0].error)"])
  }

  /// Tries until it works, until the end, or until it never will work; returns whether it has.
  private func bury(_ burials: [Burial]) async -> Bool {
    var backOff = options.initialBackoff
    var isTold = false
    while true {
      do {
        guard let deadLetters else {
          try await journal.bury(burials)
          return true
        }
        try await deadLetters.keep(burials)
        await remove(burials.compactMap(\.sequence))
        return true
      } catch {
        if !isTold { logger.error("keeping dead letters failed", metadata: ["error": "\(error)"]) }
        isTold = true
        guard (error as? any RetryAdvising)?.isRetryable == true else {
          fail(error)
          return false
        }
      }
      if isStopping { return false }
      try? await Task.sleep(for: backOff)
      backOff = min(backOff * 2, .seconds(1), options.maximumBackoff)
    }
  }
}
