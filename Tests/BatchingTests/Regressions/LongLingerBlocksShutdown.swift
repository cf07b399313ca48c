import Batching
import BatchingTesting
import ServiceLifecycleTestKit
import Testing

/// Pain 20: a long linger blocks the shutdown (redpanda-connect#1001); on the real clock, where it would be an hour.
@Suite("Regression: a long linger blocks shutdown", .timeLimit(.minutes(5)))
struct LongLingerBlocksShutdown {
  private let fates = FateRecorder<Int>()

  private func aggregator(batchSize: Int) throws -> Aggregator<Int> {
    try Aggregator(configuration: .init(batchSize: batchSize, linger: .seconds(3600))) { [fates] batch in
      try await fates.record(batch) {}
    }
  }

  @Test(arguments: batchSizes)
  func aShutdownWakesTheTimer(batchSize: Int) async throws {
    let aggregator = try aggregator(batchSize: batchSize)
    try await whileRunning(aggregator) { run in
      try await aggregator.send(1)
      await settle()
      aggregator.shutdown()
      try await run.value
    }
    #expect(fates.all == .of(handled: [1]))
  }

  @Test(arguments: batchSizes)
  func aGracefulShutdownDoesToo(batchSize: Int) async throws {
    let aggregator = try aggregator(batchSize: batchSize)
    try await testGracefulShutdown { trigger in
      try await whileRunning(aggregator) { run in
        try await aggregator.send(1)
        await settle()
        trigger.triggerGracefulShutdown()
        try await run.value
      }
    }
    #expect(fates.all == .of(handled: [1]))
  }

  @Test
  func theEndOfABlockDoesToo() async throws {
    try await withAggregator(of: Int.self, configuration: .init(batchSize: 10, linger: .seconds(3600))) {
      [fates] batch in
      try await fates.record(batch) {}
    } body: { aggregator in
      try await aggregator.send(1)
    }
    #expect(fates.all == .of(handled: [1]))
  }

  @Test
  func aCancelledRunDoesToo() async throws {
    let aggregator = try aggregator(batchSize: 10)
    try await whileRunning(aggregator) { run in
      try await aggregator.send(1)
      await settle()
      run.cancel()
      _ = await run.result
    }
    #expect(aggregator.statistics.failed == 1)
  }

  @Test(arguments: batchSizes)
  func aSleepForABatchThatIsGoneDoesNotDelayIt(batchSize: Int) async throws {
    let aggregator = try aggregator(batchSize: batchSize)
    try await whileRunning(aggregator) { run in
      try await aggregator.send(contentsOf: 1...batchSize)
      try await aggregator.flush()
      aggregator.shutdown()
      try await run.value
    }
    #expect(fates.all == .of(handled: Array(1...batchSize)))
  }
}
