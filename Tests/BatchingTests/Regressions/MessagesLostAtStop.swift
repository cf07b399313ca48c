import Batching
import BatchingTesting
import Testing

/// Pain 2: channelx loses what it has accepted when it is stopped; 188,753 of 200,000 in one run.
@Suite("Regression: messages lost at stop", .timeLimit(.minutes(5)))
struct MessagesLostAtStop {
  @Test(arguments: batchSizes + [500], slotCounts)
  func stoppedRightAfterTheLastSend(batchSize: Int, concurrency: Int) async throws {
    let rig = try Rig(
      .init(batchSize: batchSize, linger: .seconds(3600), concurrency: concurrency, capacity: 2000), handler: .open())
    try await rig.run { rig, run in
      try await rig.aggregator.send(contentsOf: 0..<2000)
      rig.aggregator.shutdown()
      try await run.value
    }
    #expect(rig.fates.all == .of(handled: Array(0..<2000)))
  }

  @Test(arguments: batchSizes)
  func stoppedBeforeAnyHandlerCouldRun(batchSize: Int) async throws {
    let rig = try Rig(.init(batchSize: batchSize), handler: .open())
    try await rig.aggregator.send(contentsOf: 0..<(4 * batchSize))
    rig.aggregator.shutdown()
    try await rig.run { _, run in try await run.value }
    #expect(rig.fates.all == .of(handled: Array(0..<(4 * batchSize))))
  }

  @Test(arguments: batchSizes, slotCounts)
  func stoppedAmidSends(batchSize: Int, concurrency: Int) async throws {
    let fates = FateRecorder<Int>()
    let accepted = Watched<[Int]>([])
    let aggregator = try Aggregator<Int>(
      configuration: .init(batchSize: batchSize, linger: .milliseconds(1), concurrency: concurrency)
    ) { batch in try await fates.record(batch) {} }
    try await whileRunning(aggregator) { _ in
      try await withThrowingTaskGroup { group in
        for producer in 0..<4 {
          group.addTask {
            var message = producer
            while (try? await aggregator.send(message)) != nil {
              accepted.change { $0.append(message) }
              message += 4
            }
          }
        }
        try await accepted.wait { $0.count >= 500 }
        aggregator.shutdown()
        try await group.waitForAll()
      }
    }
    #expect(fates.all == .of(handled: accepted.current))
  }
}
