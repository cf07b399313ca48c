import Batching
import BatchingTesting
import Testing

/// Pain 6: Reactor's `bufferTimeout` overflows under demand, and hands out buffers that are neither full nor due
/// (reactor-core#1557, #3416, #4185, #4377).
@Suite("Regression: overflows and premature buffers", .timeLimit(.minutes(5)))
struct OverflowsAndPrematureBuffers {
  @Test(arguments: batchSizes, slotCounts)
  func aSlowHandlerSlowsTheProducersAndOverflowsNothing(batchSize: Int, concurrency: Int) async throws {
    let largest = Watched(0)
    let aggregator = try Aggregator<Int>(
      configuration: .init(
        batchSize: batchSize, linger: .zero, concurrency: concurrency, capacity: batchSize * concurrency)
    ) { batch in
      largest.change { $0 = max($0, batch.count) }
      for _ in 0..<20 { await Task.yield() }
    }
    try await whileRunning(aggregator) { _ in
      try await withThrowingTaskGroup { group in
        for _ in 0..<4 {
          group.addTask {
            for message in 0..<100 {
              try await aggregator.send(message)
              #expect(aggregator.statistics.held <= batchSize * concurrency)
            }
          }
        }
        try await group.waitForAll()
      }
    }
    #expect(aggregator.statistics.handled == 400)
    #expect(largest.current <= batchSize)
  }

  @Test(arguments: batchSizes, slotCounts)
  func noBatchThatIsNotDueIsHandedOutBeforeItIsFull(batchSize: Int, concurrency: Int) async throws {
    let rig = try Rig(
      .init(batchSize: batchSize, linger: .seconds(3600), concurrency: concurrency), handler: .open())
    let count = 50 * batchSize
    try await rig.run { rig in
      try await withThrowingTaskGroup { group in
        for producer in 0..<5 {
          group.addTask {
            for message in stride(from: producer, to: count, by: 5) { try await rig.aggregator.send(message) }
          }
        }
        try await group.waitForAll()
      }
    }
    #expect(rig.handler.batches.map(\.count) == Array(repeating: batchSize, count: 50))
  }

  @Test(arguments: [2, 3, 7])
  func theTimerThatFiresAsTheBatchFillsDoesNotCutTheNext(batchSize: Int) async throws {
    let rig = try Rig(.init(batchSize: batchSize, linger: .milliseconds(10)), handler: .open())
    let size = batchSize
    try await rig.run { rig in
      for round in 0..<100 {
        let first = round * size
        try await rig.aggregator.send(contentsOf: first..<(first + size - 1))
        try await rig.clock.waitForSleeper(until: rig.clock.elapsed + .milliseconds(10))
        // Both at once: whichever comes first, no message is in two batches and none in a batch that is too large.
        async let last: Void = rig.aggregator.send(first + size - 1)
        rig.clock.advance(by: .milliseconds(10))
        try await last
        try await rig.aggregator.flush()
      }
    }
    #expect(rig.fates.handled == Array(0..<(100 * size)))
    #expect(rig.handler.batches.allSatisfy { (1...size).contains($0.count) })
  }
}
