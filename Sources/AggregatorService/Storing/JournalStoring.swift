import AggregatorStorage
import Batching
import Logging

/// By way of a journal: requests of many clients are put into it in one transaction, and a forwarder brings them to the sink.
///
/// A client that does not want to wait for the sink has its answer when the journal has its messages. Any other waits for the
/// sink too, but not for ever: its messages are durable meanwhile.
final class JournalStoring: Storing {
  private let appends: RequestAggregator<JournalRequest, ClosedRange<Int64>>
  private let journal: Journal
  private let forwarder: Forwarder
  private let observer: any PipelineObserver

  init(
    options: ProgramOptions, journal: Journal, sink: any Sink, deadLetters: DeadLetters?,
    observer: any PipelineObserver, logger: Logger
  ) throws {
    self.journal = journal
    self.observer = observer
    forwarder = try Forwarder(
      journal: journal, sink: sink, deadLetters: deadLetters, options: Self.forwarderOptions(options),
      observer: observer, logger: logger)
    let heaviest = 16 << 20
    appends = try .returningResults(
      name: "journal",
      configuration: AggregatorConfiguration(
        // Requests, not messages: as many as have come while the transaction before was written.
        batchSize: 1_000, linger: .zero, capacity: 100_000, overflow: .reject, maximumBatchWeight: heaviest),
      logger: logger,
      weight: { min($0.size, heaviest) }
    ) { batch in
      try await journal.append(batch.messages).map { result in result.mapError { $0 } }
    }
  }

  private static func forwarderOptions(_ options: ProgramOptions) -> ForwarderOptions {
    var forwarder = ForwarderOptions()
    forwarder.batchSize = options.batchSize
    forwarder.linger = options.linger
    forwarder.concurrency = options.concurrency
    forwarder.capacity = forwardedAtOnce(options)
    forwarder.writeTimeout = options.storeTimeout
    forwarder.initialBackoff = options.initialBackoff
    forwarder.maximumBackoff = options.maximumBackoff
    forwarder.drainTimeout = options.drainTimeout
    return forwarder
  }

  /// Messages that the forwarder has in memory: enough for every slot, and no more than may be held.
  private static func forwardedAtOnce(_ options: ProgramOptions) -> Int {
    max(min(options.capacity, 16 * options.batchSize * options.concurrency), options.batchSize)
  }

  var held: Int { appends.statistics.held + forwarder.statistics.held }

  func store(_ messages: [Message], in stream: StreamName, acknowledge: Acknowledgement) async -> Outcome {
    let receipt: Receipt? = if case .committed = acknowledge { Receipt() } else { nil }
    do {
      _ = try await appends.send(JournalRequest(stream: stream, messages: messages, receipt: receipt))
    } catch let full as JournalFull {
      return .full("\(full)")
    } catch AggregatorError.full {
      return .full("as many requests wait for the journal as may")
    } catch AggregatorError.closed {
      return .closing
    } catch {
      return .failed(error)
    }
    observer.accepted(stream: stream, messages: messages.count)
    guard let receipt, case .committed(let limit) = acknowledge else { return .journaled }
    return await Self.outcome(of: receipt, within: limit)
  }

  /// What the sink says, or that the journal has it, whichever comes first.
  private static func outcome(of receipt: Receipt, within limit: Duration) async -> Outcome {
    await withTaskGroup(of: Outcome?.self) { group in
      group.addTask {
        switch try? await receipt.outcome() {
        case .stored: .stored
        case .refused(let error): .buried(error)
        case .left: .journaled
        case nil: nil
        }
      }
      group.addTask {
        try? await AlarmClock().sleep(for: limit)
        return nil
      }
      defer { group.cancelAll() }
      return await group.next().flatMap { $0 } ?? .journaled
    }
  }

  func flush() async throws {
    try await appends.flush()
    try await forwarder.flush()
  }

  func run() async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      // When the server has ended nobody appends any more, and nobody waits for a receipt.
      group.addTask { try await self.appends.run() }
      group.addTask { try await self.forwarder.run() }
      do {
        try await group.waitForAll()
      } catch {
        group.cancelAll()
        throw error
      }
    }
  }

  func reconfigure(_ options: ProgramOptions) throws {
    try forwarder.reconfigure(
      batchSize: options.batchSize, linger: options.linger, concurrency: options.concurrency,
      capacity: Self.forwardedAtOnce(options))
  }
}
