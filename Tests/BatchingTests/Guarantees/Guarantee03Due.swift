import Batching
import BatchingTesting
import Testing

@Suite("Guarantee 3: due", .timeLimit(.minutes(5)))
struct Guarantee03Due {
  @Test(arguments: [2, 3, 7])
  func aBatchIsDueWhenItsFirstMessageIsLingerOldAndNotBefore(batchSize: Int) async throws {
    let rig = try Rig(.init(batchSize: batchSize, linger: .milliseconds(10)))
    try await rig.run { rig in
      try await rig.aggregator.send(1)
      try await rig.clock.waitForSleeper(until: .milliseconds(10))
      rig.clock.advance(to: .nanoseconds(9_999_999))
      await settle()
      #expect(rig.handler.count == 0)
      rig.clock.advance(to: .milliseconds(10))
      let call = try await rig.handler.call(0)
      #expect(call.input.messages == [1])
      #expect(call.input.trigger == .linger)
    }
  }

  @Test
  func laterMessagesDoNotPutTheBatchOff() async throws {
    let rig = try Rig(.init(batchSize: 3, linger: .milliseconds(10)))
    try await rig.run { rig in
      try await rig.aggregator.send(1)
      try await rig.clock.waitForSleepers()
      rig.clock.advance(by: .milliseconds(9))
      try await rig.aggregator.send(2)
      rig.clock.advance(by: .milliseconds(1))
      let call = try await rig.handler.call(0)
      #expect(call.input.messages == [1, 2])
    }
  }

  @Test
  func whatHasWaitedForTheFirstRunIsDueByItsOwnAge() async throws {
    let rig = try Rig(.init(batchSize: 3, linger: .milliseconds(10)))
    try await rig.aggregator.send(1)
    rig.clock.advance(by: .milliseconds(4))
    try await rig.run { rig in
      try await rig.clock.waitForSleeper(until: .milliseconds(10))
      rig.clock.advance(by: .milliseconds(6))
      let call = try await rig.handler.call(0)
      #expect(call.input.messages == [1])
      #expect(call.input.trigger == .linger)
    }
  }

  @Test(arguments: batchSizes, [2, 4])
  func aDueBatchGoesToTheFirstSlotThatIsFree(batchSize: Int, concurrency: Int) async throws {
    let rig = try Rig(.init(batchSize: batchSize, linger: .seconds(60), concurrency: concurrency))
    try await rig.run { rig in
      try await rig.aggregator.send(contentsOf: 0..<((concurrency + 1) * batchSize))
      try await rig.handler.waitForCalls(count: concurrency)
      await settle()
      #expect(rig.handler.count == concurrency)
      // The last of the calls is over; the first still goes on.
      try await rig.handler.call(concurrency - 1).succeed()
      let call = try await rig.handler.call(concurrency)
      #expect(call.input.messages == Array(concurrency * batchSize..<(concurrency + 1) * batchSize))
    }
  }

  @Test
  func aDueBatchGrowsToBatchSizeUntilASlotTakesIt() async throws {
    let rig = try Rig(.init(batchSize: 3, linger: .milliseconds(10)))
    try await rig.run { rig in
      try await rig.aggregator.send(contentsOf: 1...4)
      try await rig.handler.waitForCalls(count: 1)
      try await rig.clock.waitForSleepers()
      rig.clock.advance(by: .milliseconds(10))
      await settle()
      try await rig.aggregator.send(contentsOf: 5...7)
      #expect(rig.handler.count == 1)
      try await rig.handler.call(0).succeed()
      try await rig.handler.waitForCalls(count: 2)
    }
    #expect(rig.handler.batches == [[1, 2, 3], [4, 5, 6], [7]])
  }

  @Test(arguments: batchSizes)
  func aFlushMakesTheOpenBatchDue(batchSize: Int) async throws {
    let rig = try Rig(.init(batchSize: batchSize, linger: .seconds(60)))
    let count = max(1, batchSize - 1)
    try await rig.run { rig in
      try await rig.aggregator.send(contentsOf: 1...count)
      let flush = Begun { try await rig.aggregator.flush() }
      let call = try await rig.handler.call(0)
      #expect(call.input.messages == Array(1...count))
      #expect(call.input.trigger == (batchSize == 1 ? .size : .flush))
      #expect(rig.clock.elapsed == .zero)
      call.succeed()
      try await flush.value
    }
  }

  @Test(arguments: [2, 3, 7])
  func aBatchThatAFlushMadeDueNoLongerGrows(batchSize: Int) async throws {
    let rig = try Rig(.init(batchSize: batchSize, linger: .seconds(60)))
    let full = Array(1...batchSize)
    try await rig.run { rig in
      try await rig.aggregator.send(contentsOf: full)
      try await rig.handler.waitForCalls(count: 1)
      try await rig.aggregator.send(100)
      let flush = Begun { try await rig.aggregator.flush() }
      try await rig.aggregator.send(200)
      rig.handler.open()
      try await flush.value
      #expect(rig.handler.batches == [full, [100]])
      #expect(rig.handler.inputs[1].trigger == .flush)
    }
    #expect(rig.handler.batches == [full, [100], [200]])
  }

  @Test(arguments: batchSizes)
  func aShutdownMakesTheOpenBatchDue(batchSize: Int) async throws {
    let rig = try Rig(.init(batchSize: batchSize, linger: .seconds(60)))
    let count = max(1, batchSize - 1)
    try await rig.run { rig in
      try await rig.aggregator.send(contentsOf: 1...count)
      rig.aggregator.shutdown()
      let call = try await rig.handler.call(0)
      #expect(call.input.messages == Array(1...count))
      #expect(call.input.trigger == (batchSize == 1 ? .size : .shutdown))
      #expect(rig.clock.elapsed == .zero)
    }
  }

  @Test(arguments: [2, 3, 7])
  func withoutLingerABatchIsDueAtOnceAndGrowsWhileTheSlotIsBusy(batchSize: Int) async throws {
    let rig = try Rig(.init(batchSize: batchSize, linger: .zero))
    try await rig.run { rig in
      try await rig.aggregator.send(0)
      let call = try await rig.handler.call(0)
      #expect(call.input.messages == [0])
      for message in 1...(batchSize + 1) { try await rig.aggregator.send(message) }
      #expect(rig.handler.count == 1)
      rig.handler.open()
      try await rig.handler.waitForCalls(count: 3)
      #expect(rig.clock.elapsed == .zero)
    }
    #expect(rig.handler.batches == [[0], Array(1...batchSize), [batchSize + 1]])
    // What made it due first, not what happened to it later.
    #expect(rig.handler.inputs.map(\.trigger) == [.linger, .linger, .linger])
    #expect(rig.aggregator.statistics.batches[.linger] == 3)
  }

  @Test
  func withoutLingerABatchOfOneStartsAtOnce() async throws {
    let rig = try Rig(.init(batchSize: 1, linger: .zero))
    try await rig.run { rig in
      try await rig.aggregator.send(contentsOf: 1...2)
      try await rig.handler.call(0).succeed()
      try await rig.handler.call(1).succeed()
    }
    #expect(rig.handler.batches == [[1], [2]])
  }

  @Test
  func aBatchWhoseFirstMessageWasPushedOutIsDueByTheAgeOfTheNext() async throws {
    let rig = try Rig(.init(batchSize: 3, linger: .milliseconds(10), capacity: 5, overflow: .dropOldest))
    try await rig.run { rig in
      try await rig.aggregator.send(contentsOf: 1...4)
      try await rig.handler.waitForCalls(count: 1)
      rig.clock.advance(to: .milliseconds(6))
      try await rig.aggregator.send(5)
      rig.clock.advance(to: .milliseconds(8))
      // Pushes out 4, which came at 0: what is left came at 6 and 8.
      try await rig.aggregator.send(6)
      try await rig.handler.call(0).succeed()
      rig.clock.advance(to: .milliseconds(10))
      try await rig.clock.waitForSleeper(until: .milliseconds(16))
      #expect(rig.handler.count == 1)
      rig.clock.advance(to: .milliseconds(16))
      let call = try await rig.handler.call(1)
      #expect(call.input.messages == [5, 6])
      #expect(call.input.trigger == .linger)
    }
  }

  @Test
  func aLingerWithoutEndIsAllowed() async throws {
    let rig = try Rig(.init(batchSize: 2, linger: .seconds(Int64.max)), handler: .open())
    try await rig.run { rig in
      rig.clock.advance(by: .seconds(1))
      try await rig.aggregator.send(contentsOf: 1...3)
      try await rig.aggregator.flush()
    }
    #expect(rig.handler.batches == [[1, 2], [3]])
  }
}
