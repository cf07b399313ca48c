import Batching
import BatchingTesting
import Testing

/// The ledger under real load: producers that are tasks and threads, handlers that fail, and an end in the midst of it.
///
/// However it ends, each accepted message has one fate, nobody else has one, and at each moment the numbers add up.
@Suite("The ledger under load", .serialized, .timeLimit(.minutes(5)))
struct LedgerUnderLoad {
  /// What the handler makes of a batch.
  enum Handling: Sendable {
    case handles
    case failsEveryThird
    case failsPartly
    case failsOnceThenHandles
    case isPoisonedByEveryHundredth

    func callAsFunction(_ batch: Batch<Int>) throws {
      switch self {
      case .handles: break
      case .failsEveryThird: if batch.sequenceNumber.isMultiple(of: 3) { throw Failure() }
      case .failsPartly:
        let offsets = batch.indices.filter { batch[$0].isMultiple(of: 7) }
        let failures: [Int: any Error] = Dictionary(uniqueKeysWithValues: offsets.map { ($0, Failure()) })
        if !failures.isEmpty { throw PartialBatchFailure(failures) }
      case .failsOnceThenHandles: if batch.attempt == 1 { throw Failure() }
      case .isPoisonedByEveryHundredth: if batch.contains(where: { $0.isMultiple(of: 100) }) { throw Failure() }
      }
    }
  }

  /// How it comes to its end.
  enum Ending: Sendable {
    case whenAllIsSent, shutdownMidway, cancelledMidway, producersCancelledMidway
  }

  struct Setup: Sendable, CustomTestStringConvertible {
    var batchSize: Int
    var concurrency: Int
    var capacity: Int?
    var overflow = OverflowPolicy.suspend
    var retry = RetryPolicy.never
    var tasks = 4
    var threads = 0
    var messages = 2000
    var handling = Handling.handles
    var ending = Ending.whenAllIsSent

    var testDescription: String {
      "size \(batchSize), \(concurrency) slots, \(overflow), \(tasks) tasks, \(threads) threads, \(handling), \(ending)"
    }

    var configuration: AggregatorConfiguration {
      .init(
        batchSize: batchSize, linger: .microseconds(500), concurrency: concurrency, capacity: capacity,
        overflow: overflow, retry: retry)
    }

    /// Whether each producer's messages are handled in its order.
    var keepsOrder: Bool {
      guard concurrency == 1 else { return false }
      return switch handling {
      case .handles, .failsEveryThird, .failsOnceThenHandles: true
      case .failsPartly, .isPoisonedByEveryHundredth: false
      }
    }
  }

  static let retry = RetryPolicy.exponential(maximumAttempts: 2, initial: .microseconds(10), maximum: .microseconds(50))
  static let isolating = RetryPolicy.exponential(
    maximumAttempts: 2, initial: .zero, maximum: .zero, isolatesPoisonMessages: true)

  static let setups: [Setup] = [
    Setup(batchSize: 1, concurrency: 1, tasks: 1),
    Setup(batchSize: 1, concurrency: 1, tasks: 8, messages: 300),
    Setup(batchSize: 1, concurrency: 4, tasks: 4, threads: 2, messages: 500),
    Setup(batchSize: 1, concurrency: 2, capacity: 1, tasks: 8, messages: 300),
    Setup(batchSize: 8, concurrency: 1, tasks: 4, threads: 2),
    Setup(batchSize: 8, concurrency: 2, threads: 4),
    Setup(batchSize: 8, concurrency: 4, capacity: 8, tasks: 8),
    Setup(batchSize: 512, concurrency: 1, tasks: 2, threads: 2, messages: 4000),
    Setup(batchSize: 512, concurrency: 4, tasks: 8, messages: 2000),
    Setup(batchSize: 1, concurrency: 2, handling: .failsEveryThird),
    Setup(batchSize: 8, concurrency: 1, threads: 1, handling: .failsEveryThird),
    Setup(batchSize: 8, concurrency: 1, retry: retry, handling: .failsOnceThenHandles),
    Setup(batchSize: 1, concurrency: 4, retry: retry, messages: 300, handling: .failsOnceThenHandles),
    Setup(batchSize: 8, concurrency: 2, retry: retry, threads: 1, handling: .failsPartly),
    Setup(batchSize: 512, concurrency: 2, retry: retry, messages: 3000, handling: .failsPartly),
    Setup(batchSize: 8, concurrency: 2, retry: isolating, handling: .isPoisonedByEveryHundredth),
    Setup(batchSize: 512, concurrency: 4, retry: isolating, messages: 2000, handling: .isPoisonedByEveryHundredth),
    Setup(batchSize: 1, concurrency: 1, capacity: 2, overflow: .reject, threads: 2),
    Setup(batchSize: 8, concurrency: 2, capacity: 16, overflow: .reject, threads: 1, handling: .failsEveryThird),
    Setup(batchSize: 1, concurrency: 1, capacity: 3, overflow: .dropOldest, threads: 2),
    Setup(batchSize: 8, concurrency: 2, capacity: 24, overflow: .dropOldest, threads: 2, handling: .failsPartly),
    Setup(
      batchSize: 512, concurrency: 1, capacity: 1024, overflow: .dropOldest, threads: 2, messages: 4000),
    Setup(batchSize: 1, concurrency: 2, threads: 2, ending: .shutdownMidway),
    Setup(batchSize: 8, concurrency: 1, retry: retry, threads: 1, handling: .failsPartly, ending: .shutdownMidway),
    Setup(batchSize: 512, concurrency: 4, threads: 2, messages: 4000, ending: .shutdownMidway),
    Setup(
      batchSize: 8, concurrency: 2, capacity: 16, overflow: .dropOldest, threads: 2, ending: .shutdownMidway),
    Setup(batchSize: 1, concurrency: 2, threads: 1, ending: .cancelledMidway),
    Setup(
      batchSize: 8, concurrency: 4, retry: isolating, threads: 1, handling: .isPoisonedByEveryHundredth,
      ending: .cancelledMidway),
    Setup(batchSize: 8, concurrency: 2, capacity: 16, overflow: .dropOldest, threads: 2, ending: .cancelledMidway),
    Setup(batchSize: 1, concurrency: 1, capacity: 1, tasks: 8, ending: .producersCancelledMidway),
    Setup(
      batchSize: 8, concurrency: 2, capacity: 8, tasks: 8, handling: .failsEveryThird,
      ending: .producersCancelledMidway),
  ]

  @Test(arguments: setups)
  func eachMessageHasOneFateAndTheNumbersAddUp(_ setup: Setup) async throws {
    let fates = FateRecorder<Int>()
    let aggregator = try Aggregator<Int>(configuration: setup.configuration) { batch in
      try await fates.record(batch) {
        if batch.sequenceNumber.isMultiple(of: 5) { await Task.yield() }
        try setup.handling(batch)
      }
    } onFailure: { failure in
      await fates.record(failure) { await Task.yield() }
    }
    let sampler = Sampler(
      aggregator, capacity: setup.capacity ?? 8 * setup.batchSize * setup.concurrency,
      inFlight: setup.batchSize * setup.concurrency)
    let load = Load(tasks: setup.tasks, threads: setup.threads, messages: setup.messages)

    let accepted = try await whileRunning(aggregator) { run in
      let sending = Begun { try await load.send(to: aggregator) }
      try await end(setup, load, aggregator, run, sending)
      return try await sending.value
    }

    let (samples, wrong) = await sampler.stop()
    #expect(wrong == [])
    #expect(samples > 0)
    #expect(fates.manifold == [:])
    #expect(Set(fates.all.keys) == Set(accepted.joined()))
    #expect(fates.cancelledFailureCalls == 0)
    let statistics = aggregator.statistics
    #expect(statistics.accepted == accepted.reduce(0) { $0 + $1.count })
    #expect(statistics.handled == fates.count { $0 == .handled })
    #expect(statistics.dropped == fates.count { $0 == .dropped })
    #expect(statistics.accepted == statistics.handled + statistics.failed + statistics.dropped)
    #expect([statistics.held, statistics.inFlight, statistics.waitingSenders] == [0, 0, 0])
    if setup.keepsOrder {
      let byProducer = Dictionary(grouping: fates.handled) { $0 / Load.stride }
      for (producer, messages) in byProducer {
        #expect(messages == messages.sorted(), "the order of producer \(producer)")
      }
    }
  }

  /// Ends it in the set-up's way, midway where that says so.
  private func end(
    _ setup: Setup, _ load: Load, _ aggregator: Aggregator<Int>, _ run: Begun<Void>, _ sending: Begun<[[Int]]>
  ) async throws {
    // `.reject` and `.dropOldest` accept fewer than are offered, but a quarter of them always.
    let midway = (setup.tasks + setup.threads) * setup.messages / 4
    if setup.ending != .whenAllIsSent { try await load.progress.wait { $0 >= midway } }
    switch setup.ending {
    case .whenAllIsSent: break
    case .shutdownMidway: aggregator.shutdown()
    case .cancelledMidway: run.cancel()
    case .producersCancelledMidway: sending.cancel()
    }
  }
}
