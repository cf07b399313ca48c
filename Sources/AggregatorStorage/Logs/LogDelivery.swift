import Batching
import Logging
import Synchronization

/// Writes batches of a log's messages to a sink, and tells the log what has become of each.
///
/// A message is written and acknowledged, refused for good and buried, passed over because it is another member's by now, or
/// given back.
final class LogDelivery: Sendable {
  private struct State {
    var isStopping = false
    /// No more is tried: the end is near, and the sink does not work.
    var isLeaving = false
    var failing: Set<StreamName> = []
    var fatal: (any Error)?
  }

  let holdings = LogHoldings()
  private let consumer: any LogConsumer
  private let sink: any Sink
  private let keep: LogBurial.Keep?
  private let options: LogPipelineOptions
  private let observer: any PipelineObserver
  private let logger: Logger
  private let state = Mutex(State())

  init(
    consumer: any LogConsumer, sink: any Sink, keep: LogBurial.Keep?, options: LogPipelineOptions,
    observer: any PipelineObserver, logger: Logger
  ) {
    self.consumer = consumer
    self.sink = sink
    self.keep = keep
    self.options = options
    self.observer = observer
    self.logger = logger
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

  /// Writes a batch of one partition; the handler of the aggregator.
  ///
  /// It isolates refused messages itself, rather than have the aggregator do so, because a part of a batch has one attempt
  /// there: an outage meanwhile would be the end of messages that nobody has refused.
  func write(_ batch: Batch<LogMessage>) async throws {
    guard !state.withLock({ $0.isLeaving }) else { throw LeftInLog() }
    var failures: [Int: any Error] = [:]
    var outage: (any Error)?
    for (stream, offsets) in groups(of: batch) {
      if let outage {
        for offset in offsets { failures[offset] = outage }
        continue
      }
      let messages = offsets.map { batch[$0] }
      let outcome = await IsolatingWrite(count: offsets.count) { range, isPart in
        try await write(
          messages[range].map(\.message), to: stream, trigger: isPart ? .split : batch.trigger, attempt: batch.attempt)
      }
      let stored = outcome.stored(of: offsets.count).map { messages[$0] }
      if !stored.isEmpty {
        await consumer.acknowledge(stored)
        holdings.remove(stored)
        works(stream)
      }
      for (place, refusal) in outcome.refused { failures[offsets[place]] = refusal }
      if let (from, error) = outcome.stopped {
        outage = failed(stream, error)
        for offset in offsets[from...] { failures[offset] = outage }
      }
    }
    if !failures.isEmpty { throw PartialBatchFailure(failures) }
  }

  /// Offsets of the messages that are still this member's, by their streams, in their order.
  private func groups(of batch: Batch<LogMessage>) -> [(StreamName, [Int])] {
    var lost: [LogMessage] = []
    var groups: [(stream: StreamName, offsets: [Int])] = []
    for (offset, message) in batch.enumerated() {
      guard consumer.owns(message) else {
        lost.append(message)
        continue
      }
      // As a rule there is one.
      if let place = groups.firstIndex(where: { $0.stream == message.stream }) {
        groups[place].offsets.append(offset)
      } else {
        groups.append((message.stream, [offset]))
      }
    }
    if !lost.isEmpty {
      holdings.remove(lost)
      logger.info(
        "messages were taken that are another member's now, and are left to it",
        metadata: ["partition": "\(lost[0].partition)", "messages": "\(lost.count)"])
    }
    return groups
  }

  private func write(_ messages: [Message], to stream: StreamName, trigger: Trigger, attempt: Int) async throws {
    if attempt == 1, trigger != .split { observer.accepted(stream: stream, messages: messages.count) }
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

  /// An outage is told when it begins and when it is over, not with each batch.
  private func works(_ stream: StreamName) {
    if state.withLock({ $0.failing.remove(stream) }) != nil {
      logger.notice("storing works again", metadata: ["stream": "\(stream)"])
    }
  }

  /// Returns the error that says what is to become of the messages.
  private func failed(_ stream: StreamName, _ error: any Error) -> any Error {
    let (isNew, isLeaving) = state.withLock { state in
      if state.isStopping { state.isLeaving = true }
      return (state.failing.insert(stream).inserted, state.isLeaving)
    }
    if isNew, !isLeaving {
      logger.error(
        "storing failed, to be tried again until it works", metadata: ["stream": "\(stream)", "error": "\(error)"])
    }
    return isLeaving ? LeftInLog() : error
  }

  /// What is to be given back: to the aggregator a refusal, so that it is not tried again.
  private struct LeftInLog: RetryAdvising {
    var isRetryable: Bool { false }
    var retryAfter: Duration? { nil }
  }

  // MARK: Giving up

  /// Buries messages that were refused and gives the others back.
  ///
  /// What the aggregator calls with messages that it gives up, which apart from refusals it does only at its end.
  func giveUp(_ failure: BatchFailure<LogMessage>) async {
    var burials: [LogBurial] = []
    var others: [LogMessage] = []
    for item in failure.items {
      if let refusal = item.error as? Refusal {
        burials.append(
          LogBurial(
            message: item.message, error: refusal.error, attempts: failure.attempts - 1 + refusal.attempts))
      } else {
        others.append(item.message)
      }
    }
    if !burials.isEmpty {
      if await bury(burials) {
        let messages = burials.map(\.message)
        await consumer.acknowledge(messages)
        holdings.remove(messages)
      } else {
        others += burials.map(\.message)
      }
    }
    if !others.isEmpty { await giveBack(others) }
  }

  /// Lets the log deliver messages again.
  func giveBack(_ messages: [LogMessage]) async {
    await consumer.giveBack(messages)
    holdings.remove(messages)
  }

  /// Tries until it works, the end comes, or it never will work; returns whether it has worked.
  private func bury(_ burials: [LogBurial]) async -> Bool {
    let first = burials[0]
    guard let keep else {
      // Given back they would come again and again, and be in the way of those behind them. The log has them.
      logger.error(
        "messages were refused and there is no place for dead letters: they are passed over, and are only in the log",
        metadata: [
          "partition": "\(first.message.partition)", "messages": "\(burials.count)", "error": "\(first.error)",
          "positions": "\(burials.prefix(20).map(\.message.position))",
        ])
      return true
    }
    var backOff = options.initialBackoff
    var isTold = false
    while true {
      do {
        try await keep(burials)
        for (stream, messages) in Dictionary(grouping: burials, by: \.message.stream) {
          observer.buried(stream: stream, messages: messages.count)
        }
        logger.error(
          "messages were refused, and are kept as dead letters",
          metadata: [
            "partition": "\(first.message.partition)", "messages": "\(burials.count)", "error": "\(first.error)",
          ])
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
