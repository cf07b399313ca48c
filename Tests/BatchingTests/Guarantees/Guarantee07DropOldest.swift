import Batching
import BatchingTesting
import Testing

@Suite("Guarantee 7: bounded, by dropping the oldest", .timeLimit(.minutes(5)))
struct Guarantee07DropOldest {
  @Test
  func theOldestThatHasNotStartedMakesRoomAtOnce() async throws {
    let rig = try Rig(.init(batchSize: 1, capacity: 3, overflow: .dropOldest), failures: .gated())
    try await rig.run { rig in
      try await rig.aggregator.send(1)
      try await rig.handler.waitForCalls(count: 1)
      try await rig.aggregator.send(contentsOf: [2, 3])
      try await rig.aggregator.send(4)
      // Counted at once: onFailure has not returned, and will not before the test lets it.
      var expected = AggregatorStatistics.having {
        $0.accepted = 4
        $0.dropped = 1
        $0.held = 3
        $0.inFlight = 1
        $0.batches[.size] = 1
      }
      #expect(rig.aggregator.statistics == expected)
      #expect(rig.aggregator.trySend(5) == .accepted)
      expected.accepted = 5
      expected.dropped = 2
      #expect(rig.aggregator.statistics == expected)
      #expect(try await rig.failures.call(0).input.messages[0] == 2)
    }
    #expect(rig.handler.batches == [[1], [4], [5]])
    #expect(rig.fates.all == .of(handled: [1, 4, 5], dropped: [2, 3]))
  }

  @Test(arguments: batchSizes)
  func whatAHandlerHasIsNotPushedOut(batchSize: Int) async throws {
    let rig = try Rig(.init(batchSize: batchSize, capacity: batchSize, overflow: .dropOldest))
    try await rig.run { rig in
      try await rig.aggregator.send(contentsOf: 1...batchSize)
      try await rig.handler.waitForCalls(count: 1)
      await #expect(throws: AggregatorError.full) { try await rig.aggregator.send(100) }
      #expect(rig.aggregator.trySend(100) == .full)
      #expect(rig.aggregator.statistics.rejected == 2)
      #expect(rig.aggregator.statistics.dropped == 0)
    }
    #expect(rig.fates.all == .of(handled: Array(1...batchSize)))
  }

  @Test
  func whatWaitsForARetryIsNotPushedOut() async throws {
    let rig = try Rig(
      .init(
        batchSize: 1, linger: .zero, capacity: 1, overflow: .dropOldest,
        retry: .exponential(initial: .seconds(1), maximum: .seconds(1))))
    try await rig.run { rig in
      try await rig.aggregator.send(1)
      try await rig.handler.call(0).fail(Failure())
      try await rig.clock.waitForSleepers()
      #expect(rig.aggregator.trySend(2) == .full)
      rig.clock.advance(by: .seconds(1))
      try await rig.handler.call(1).succeed()
      try await rig.aggregator.flush()
    }
    #expect(rig.fates.all == .of(handled: [1]))
  }

  @Test(arguments: [2, 3, 7])
  func theOpenBatchIsPushedOutTooAndKeepsItsOrder(batchSize: Int) async throws {
    let rig = try Rig(
      .init(batchSize: batchSize, linger: .seconds(60), capacity: 2 * batchSize - 1, overflow: .dropOldest))
    let size = batchSize
    try await rig.run { rig in
      try await rig.aggregator.send(contentsOf: 0..<size)
      try await rig.handler.waitForCalls(count: 1)
      // The next batch is still open: it lacks one.
      try await rig.aggregator.send(contentsOf: size..<(2 * size - 1))
      // As fast as onFailure lets it: those that wait for that have a bound.
      for message in 100..<105 {
        try await eventually("there is room for \(message)") { rig.aggregator.trySend(message) == .accepted }
      }
      #expect(rig.aggregator.statistics.held == 2 * size - 1)
      #expect(rig.aggregator.statistics.dropped == 5)
    }
    let offered = Array(size..<(2 * size - 1)) + Array(100..<105)
    #expect(rig.fates.handled == Array(0..<size) + offered.dropFirst(5))
    #expect(rig.failures.inputs.flatMap(\.messages) == Array(offered.prefix(5)))
    #expect(rig.handler.batches.allSatisfy { (1...size).contains($0.count) })
  }

  @Test(arguments: batchSizes)
  func thoseThatWaitForOnFailureHaveABoundToo(batchSize: Int) async throws {
    let capacity = 2 * batchSize
    let rig = try Rig(
      .init(batchSize: batchSize, linger: .seconds(60), capacity: capacity, overflow: .dropOldest),
      failures: .gated())
    try await rig.run { rig in
      try await rig.aggregator.send(contentsOf: 0..<batchSize)
      try await rig.handler.waitForCalls(count: 1)
      var message = batchSize
      while rig.aggregator.trySend(message) == .accepted, message < 100 { message += 1 }
      #expect(rig.aggregator.statistics.held == capacity)
      #expect(rig.aggregator.statistics.dropped == capacity)
      await #expect(throws: AggregatorError.full) { try await rig.aggregator.send(200) }
      // Once onFailure has had them there is room to drop more.
      rig.failures.open()
      try await eventually("a message can be pushed out again") { rig.aggregator.trySend(300) == .accepted }
    }
  }

  @Test(arguments: batchSizes)
  func aHandlerNeverSeesABatchOfWhichAllWasPushedOut(batchSize: Int) async throws {
    let capacity = 2 * batchSize
    let rig = try Rig(
      .init(batchSize: batchSize, linger: .seconds(60), capacity: capacity, overflow: .dropOldest))
    try await rig.run { rig in
      try await rig.aggregator.send(contentsOf: 0..<batchSize)
      try await rig.handler.waitForCalls(count: 1)
      for message in 100..<150 {
        try await eventually("there is room for \(message)") { rig.aggregator.trySend(message) == .accepted }
      }
      rig.handler.open()
    }
    #expect(rig.handler.batches.allSatisfy { (1...batchSize).contains($0.count) })
    #expect(rig.fates.handled == Array(0..<batchSize) + Array((150 - batchSize)..<150))
  }

  @Test
  func theDrainWaitsForTheDropped() async throws {
    let rig = try Rig(.init(batchSize: 1, capacity: 2, overflow: .dropOldest), failures: .gated())
    try await rig.run { rig, run in
      try await rig.aggregator.send(1)
      try await rig.handler.waitForCalls(count: 1)
      try await rig.aggregator.send(contentsOf: [2, 3])
      rig.handler.open()
      rig.aggregator.shutdown()
      let call = try await rig.failures.call(0)
      try await eventually("the others are handled") { rig.aggregator.statistics.held == 0 }
      await settle()
      #expect(!run.hasEnded)
      call.succeed()
      try await run.value
    }
    #expect(rig.fates.all == .of(handled: [1, 3], dropped: [2]))
  }

  // MARK: - Weight; each message weighs its own value

  @Test
  func asManyArePushedOutAsTheNewOneWeighs() async throws {
    let rig = try Rig(
      .init(batchSize: 1, overflow: .dropOldest, maximumHeldWeight: 10), weight: { $0 })
    try await rig.run { rig in
      try await rig.aggregator.send(4)
      try await rig.handler.waitForCalls(count: 1)
      try await rig.aggregator.send(contentsOf: [1, 2, 3])
      try await rig.aggregator.send(5)
      #expect(rig.aggregator.statistics.dropped == 3)
      #expect(rig.aggregator.statistics.held == 2)
    }
    #expect(rig.fates.all == .of(handled: [4, 5], dropped: [1, 2, 3]))
  }

  @Test
  func nothingIsPushedOutWhenThatWouldNotBeEnough() async throws {
    let rig = try Rig(
      .init(batchSize: 1, overflow: .dropOldest, maximumHeldWeight: 10), weight: { $0 })
    try await rig.run { rig in
      try await rig.aggregator.send(6)
      try await rig.handler.waitForCalls(count: 1)
      try await rig.aggregator.send(2)
      #expect(rig.aggregator.trySend(5) == .full)
      #expect(rig.aggregator.statistics.dropped == 0)
    }
    #expect(rig.fates.all == .of(handled: [6, 2]))
  }
}
