import Batching
import BatchingTesting
import Testing

/// Pain 19: one slow or poisoned batch stops all others (disruptor#223, Hystrix#80).
@Suite("Regression: one batch stops all", .timeLimit(.minutes(5)))
struct OneBatchStopsAll {
  @Test(arguments: batchSizes, [2, 4])
  func aSlowBatchKeepsNoMoreThanItsSlot(batchSize: Int, concurrency: Int) async throws {
    let rig = try Rig(.init(batchSize: batchSize, linger: .zero, concurrency: concurrency, capacity: 100))
    try await rig.run { rig in
      try await rig.aggregator.send(-1)
      let slow = try await rig.handler.call(0)
      try await rig.aggregator.send(contentsOf: 0..<50)
      var number = 1
      while rig.fates.handled.count < 50 {
        try await rig.handler.call(number).succeed()
        try await eventually("a batch is handled or another begins") {
          rig.fates.handled.count == 50 || rig.handler.count > number + 1
        }
        number += 1
      }
      #expect(rig.aggregator.statistics.held == 1)
      slow.succeed()
    }
    #expect(rig.fates.handled.last == -1)
  }

  @Test(arguments: batchSizes)
  func aPoisonedBatchIsGivenUpAndTheNextOneFollows(batchSize: Int) async throws {
    let rig = try Rig(
      .init(batchSize: batchSize, retry: .exponential(maximumAttempts: 3, initial: .zero, maximum: .zero)),
      handler: .open { batch in if batch.contains(0) { throw Failure() } })
    let size = batchSize
    try await rig.run { rig in
      try await rig.aggregator.send(contentsOf: 0..<(3 * size))
      try await rig.aggregator.flush()
    }
    #expect(rig.fates.all == .of(handled: Array(size..<(3 * size)), failed: Array(0..<size)))
  }

  @Test(arguments: batchSizes)
  func aPoisonMessageTakesNoOtherWithIt(batchSize: Int) async throws {
    let rig = try Rig(
      .init(
        batchSize: batchSize,
        retry: .exponential(maximumAttempts: 2, initial: .zero, maximum: .zero, isolatesPoisonMessages: true)),
      handler: .open { batch in if batch.contains(10) { throw Failure() } })
    try await rig.run { rig in
      try await rig.aggregator.send(contentsOf: 0..<21)
      try await rig.aggregator.flush()
    }
    #expect(rig.fates.all == .of(handled: (0..<21).filter { $0 != 10 }, failed: [10]))
  }

  @Test
  func aBatchThatHangsIsEndedByItsTimeOut() async throws {
    let rig = try Rig(.init(batchSize: 1, linger: .zero, handlerTimeout: .seconds(1)))
    try await rig.run { rig in
      try await rig.aggregator.send(contentsOf: 1...3)
      try await rig.clock.waitForSleepers()
      rig.clock.advance(by: .seconds(1))
      try await rig.handler.call(1).succeed()
      try await rig.handler.call(2).succeed()
      try await rig.aggregator.flush()
    }
    #expect(rig.fates.all == .of(handled: [2, 3], failed: [1], because: AggregatorError.handlerTimedOut))
  }
}
