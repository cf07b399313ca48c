import Batching
import BatchingTesting
import Testing

/// Pain 1: channelx deadlocks at batch size 1, and so did others; here with real time and real tasks.
@Suite("Regression: deadlock at batch size 1", .timeLimit(.minutes(5)))
struct DeadlockAtBatchSizeOne {
  @Test(arguments: slotCounts, [Duration.zero, .milliseconds(10), .seconds(3600)])
  func manyProducersAndAllSlots(concurrency: Int, linger: Duration) async throws {
    let fates = FateRecorder<Int>()
    let aggregator = try Aggregator<Int>(
      configuration: .init(batchSize: 1, linger: linger, concurrency: concurrency)
    ) { batch in
      try await fates.record(batch) { await Task.yield() }
    }
    try await whileRunning(aggregator) { _ in
      try await withThrowingTaskGroup { group in
        for producer in 0..<8 {
          group.addTask {
            for message in 0..<50 { try await aggregator.send(producer * 50 + message) }
          }
        }
        try await group.waitForAll()
      }
      try await aggregator.flush()
      #expect(aggregator.statistics.handled == 400)
    }
    #expect(fates.all == .of(handled: Array(0..<400)))
  }

  @Test(arguments: slotCounts)
  func roomForOneMessage(concurrency: Int) async throws {
    let aggregator = try Aggregator<Int>(
      configuration: .init(batchSize: 1, concurrency: concurrency, capacity: 1)
    ) { _ in await Task.yield() }
    try await whileRunning(aggregator) { _ in
      try await withThrowingTaskGroup { group in
        for producer in 0..<8 {
          group.addTask {
            for message in 0..<50 { try await aggregator.send(producer * 50 + message) }
          }
        }
        try await group.waitForAll()
      }
    }
    #expect(aggregator.statistics.handled == 400)
  }

  @Test
  func aHandlerThatSendsToItsOwnAggregator() async throws {
    let own = Watched<Aggregator<Int>?>(nil)
    defer { own.change { $0 = nil } }
    let aggregator = try Aggregator<Int>(configuration: .init(batchSize: 1, capacity: 2)) { batch in
      // With one slot there is room for one more while this one is held.
      if batch[0] > 0 { try await own.current?.send(batch[0] - 1) }
    }
    own.change { $0 = aggregator }
    try await whileRunning(aggregator) { _ in
      try await aggregator.send(100)
      try await eventually("the last one is handled") { aggregator.statistics.handled == 101 }
    }
  }

  @Test
  func theEndWhileSendersWait() async throws {
    let rig = try Rig(.init(batchSize: 1, capacity: 1))
    try await rig.run { rig, run in
      try await rig.aggregator.send(0)
      let sends = (1...5).map { message in Begun { try await rig.aggregator.send(message) } }
      try await eventually("they wait") { rig.aggregator.statistics.waitingSenders == 5 }
      rig.aggregator.shutdown()
      for send in sends { #expect(await send.error as? AggregatorError == .closed) }
      rig.handler.open()
      try await run.value
    }
    #expect(rig.fates.all == .of(handled: [0]))
  }
}
