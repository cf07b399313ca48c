package import Batching
package import Logging
import ServiceLifecycle
import Synchronization

/// Takes messages out of a journal and writes them to a sink, each stream by itself and in its order.
///
/// A write that fails is tried again until it works, however long that takes: messages are in the journal meanwhile. What the
/// sink refuses for good becomes a dead letter, and those beside it are written. What is written is removed from the
/// journal, many at a time. One forwarder works on a journal, once.
package final class Forwarder: Service {
  private let journal: Journal
  private let options: ForwarderOptions
  private let logger: Logger
  private let delivery: Delivery
  private let aggregator: KeyedAggregator<StreamName, Journal.Entry>
  private let reader: JournalReader

  /// Makes a forwarder, which works while ``run()`` runs.
  ///
  /// - Parameters:
  ///   - journal: Where messages come from.
  ///   - sink: Where they go to.
  ///   - deadLetters: Where refused ones go; `nil` for the journal's own file.
  ///   - options: Sizes, times and patience.
  ///   - observer: Told of each write.
  ///   - logger: Where outages and refusals are told, never the contents of a message.
  /// - Throws: `AggregatorError.invalidConfiguration` for options that make no sense.
  package init(
    journal: Journal, sink: any Sink, deadLetters: DeadLetters? = nil, options: ForwarderOptions = .init(),
    observer: any PipelineObserver = NoObserver(), logger: Logger
  ) throws(AggregatorError) {
    self.journal = journal
    self.options = options
    self.logger = logger
    let delivery = Delivery(
      journal: journal, sink: sink, deadLetters: deadLetters, options: options, observer: observer, logger: logger)
    self.delivery = delivery
    let heaviest = options.maximumHeldBytes
    aggregator = try KeyedAggregator(
      name: "forwarder",
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
      key: \.stream
    ) { stream, batch in
      try await delivery.write(batch, to: stream)
    } onFailure: { stream, failure in
      await delivery.giveUp(failure, of: stream)
    }
    reader = JournalReader(
      journal: journal, aggregator: aggregator, chunkSize: options.readSize, logger: logger)
  }

  /// Works until it is shut down, or its service group is; then writes what is in memory and leaves the rest in the journal.
  ///
  /// A sink that does not work is not waited for at the end. Whoever waits for a ``Receipt`` is told ``Receipt/Outcome/left``.
  /// When its task is cancelled, writes are too; nothing is lost or buried by that.
  ///
  /// - Throws: `CancellationError`; ``JournalError`` when the journal cannot be used any more; `AggregatorError.alreadyRun`.
  package func run() async throws {
    try await withGracefulShutdownHandler {
      try await work()
    } onGracefulShutdown: {
      self.shutdown()
    }
  }

  /// Begins the end; ``run()`` returns when it is done.
  package func shutdown() {
    delivery.stop()
    aggregator.shutdown()
    reader.stop()
  }

  /// Writes what is in memory now without waiting for `linger`; returns when that is done.
  package func flush() async throws {
    try await aggregator.flush()
  }

  /// The ledger of the messages in memory.
  package var statistics: AggregatorStatistics { aggregator.statistics }

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
    // Removals go on until the last write has ended, so their aggregator is around the other.
    let isFailing = Atomic(false)
    try await withAggregator(
      of: Int64.self,
      name: "removals",
      configuration: AggregatorConfiguration(
        batchSize: 10_000, linger: options.removalLinger,
        // What is in it is in the journal too, whose bound bounds it.
        capacity: .max,
        retry: .exponential(maximumAttempts: .max, initial: .milliseconds(50), maximum: .seconds(5)),
        drainTimeout: .seconds(5)),
      logger: logger
    ) { [journal, logger] batch in
      do {
        try await journal.remove(batch.messages)
        isFailing.store(false, ordering: .relaxed)
      } catch {
        if !isFailing.exchange(true, ordering: .relaxed) {
          logger.error(
            "messages that are stored cannot be removed from the journal, to be tried again",
            metadata: ["error": "\(error)"])
        }
        throw error
      }
    } onFailure: { [self] failure in
      await removeAtLast(failure)
    } body: { remover in
      guard delivery.begin(remover) else { throw AggregatorError.alreadyRun }
      defer { journal.receipts.close() }
      try await forward()
    }
    if let fatal = delivery.fatal { throw fatal }
  }

  private func forward() async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await self.aggregator.run() }
      group.addTask {
        do {
          try await self.reader.run()
        } catch {
          self.delivery.fail(error)
          self.shutdown()
        }
      }
      try await group.waitForAll()
    }
  }

  /// The end has come, or the journal is damaged: one more attempt, which no cancellation reaches.
  private func removeAtLast(_ failure: BatchFailure<Int64>) async {
    do {
      try await journal.remove(failure.messages)
    } catch {
      logger.error(
        "messages that are stored could not be removed from the journal; they will be stored again after the next start",
        metadata: ["messages": "\(failure.items.count)", "error": "\(error)"])
      if (error as? any RetryAdvising)?.isRetryable == false {
        delivery.fail(error)
        shutdown()
      }
    }
  }
}
