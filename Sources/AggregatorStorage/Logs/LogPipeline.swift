package import Batching
package import Logging
import ServiceLifecycle
import Synchronization

/// Takes messages from a log and writes them to a sink; the log is told that it has a message off its hands once the sink has it.
///
/// Messages of one partition are written in their order, others meanwhile. A write that fails is tried again until it works,
/// however long that takes; when as many messages as may be held are, no more are asked for. (A log gives out its partitions
/// mixed, so one whose writes fail holds up the others when it has half of what may be held.) What the sink refuses for good
/// becomes a dead letter, and those beside it are written. Without a place for dead letters a refused message is passed over, and
/// told with its place in the log: given back, it would come again for ever.
///
/// A message may be written again after a crash, because the acknowledgement comes after the sink's commit; its identity is its
/// place in the log, so that a sink that keeps identities has it once.
package final class LogPipeline: Service {
  private let consumer: any LogConsumer
  private let delivery: LogDelivery
  private let aggregator: KeyedAggregator<LogPartition, LogMessage>
  private let hasBegun = Atomic(false)

  /// Makes a pipeline, which works while ``run()`` runs.
  ///
  /// - Parameters:
  ///   - consumer: Where messages come from. The pipeline stops and closes it.
  ///   - sink: Where they go to. It is not closed.
  ///   - keep: Keeps what the sink refuses for good; `nil` where there is no place for it.
  ///   - options: Sizes, times and patience.
  ///   - observer: Told of each write.
  ///   - logger: Where outages and refusals are told, never the contents of a message.
  /// - Throws: `AggregatorError.invalidConfiguration` for options that make no sense.
  package init(
    consumer: any LogConsumer, sink: any Sink, keep: LogBurial.Keep? = nil, options: LogPipelineOptions = .init(),
    observer: any PipelineObserver = NoObserver(), logger: Logger
  ) throws(AggregatorError) {
    self.consumer = consumer
    let delivery = LogDelivery(
      consumer: consumer, sink: sink, keep: keep, options: options, observer: observer, logger: logger)
    self.delivery = delivery
    let heaviest = options.maximumHeldBytes
    aggregator = try KeyedAggregator(
      name: "log",
      configuration: AggregatorConfiguration(
        batchSize: options.batchSize, linger: options.linger, concurrency: options.concurrency,
        capacity: options.capacity,
        // What is no refusal is an outage: it ends, or the program does.
        retry: .exponential(
          maximumAttempts: .max, initial: options.initialBackoff,
          maximum: max(options.maximumBackoff, options.initialBackoff)),
        drainTimeout: options.drainTimeout, maximumHeldWeight: heaviest),
      logger: logger,
      weight: { min($0.message.size, heaviest) },
      key: \.partition
    ) { _, batch in
      try await delivery.write(batch)
    } onFailure: { _, failure in
      await delivery.giveUp(failure)
    }
  }

  /// Works until it is shut down, or its service group is; then writes what is in memory, gives the rest back, and closes the
  /// consumer.
  ///
  /// A sink that does not work is not waited for at the end. When its task is cancelled, writes are too, and what was not written
  /// is given back.
  ///
  /// - Throws: `CancellationError`; what the consumer throws because it cannot go on; what keeping dead letters throws;
  ///   `AggregatorError.alreadyRun`.
  package func run() async throws {
    guard !hasBegun.exchange(true, ordering: .relaxed) else { throw AggregatorError.alreadyRun }
    try await withTaskCancellationHandler {
      try await withGracefulShutdownHandler {
        try await work()
      } onGracefulShutdown: {
        self.shutdown()
      }
    } onCancel: {
      shutdown()
    }
  }

  /// Begins the end; ``run()`` returns when it is done.
  package func shutdown() {
    delivery.stop()
    consumer.stop()
    aggregator.shutdown()
  }

  /// Waits until nothing of these partitions is in memory or being written; for one who is about to lose them.
  ///
  /// Messages that the consumer does not own any more are passed over when it is their turn, which after a failed write takes as
  /// long as a back-off.
  ///
  /// - Throws: `CancellationError`.
  package func settled(_ partitions: Set<LogPartition>) async throws {
    try await delivery.holdings.settled(partitions)
  }

  /// Writes what is in memory now without waiting for `linger`; returns when that is done.
  package func flush() async throws {
    try await aggregator.flush()
  }

  /// The ledger of the messages in memory.
  package var statistics: AggregatorStatistics { aggregator.statistics }

  /// How far it is behind.
  package var lag: LogLag { consumer.lag }

  /// Changes batch size, linger, concurrency and capacity while it runs.
  ///
  /// - Throws: `AggregatorError.invalidConfiguration`; nothing has changed then.
  package func reconfigure(
    batchSize: Int, linger: Duration, concurrency: Int, capacity: Int
  ) throws(AggregatorError) {
    var configuration = aggregator.configuration
    configuration.batchSize = batchSize
    configuration.linger = linger
    configuration.concurrency = concurrency
    configuration.capacity = capacity
    try aggregator.reconfigure(configuration)
  }

  private func work() async throws {
    do {
      try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { try await self.aggregator.run() }
        group.addTask {
          await self.read()
          self.shutdown()
        }
        try await group.waitForAll()
      }
    } catch {
      await consumer.close()
      throw delivery.fatal ?? error
    }
    await consumer.close()
    if let fatal = delivery.fatal { throw fatal }
  }

  /// Takes messages until there are no more.
  private func read() async {
    while true {
      let messages: [LogMessage]
      do {
        messages = try await consumer.next(atMost: aggregator.configuration.batchSize)
      } catch {
        // A cancelled task has its own error.
        if !Task.isCancelled { delivery.fail(error) }
        return
      }
      guard !messages.isEmpty else { return }
      delivery.holdings.add(messages)
      do {
        try await aggregator.send(contentsOf: messages)
      } catch {
        await delivery.giveBack(Array(messages.dropFirst(error.acceptedCount)))
        return
      }
    }
  }
}
