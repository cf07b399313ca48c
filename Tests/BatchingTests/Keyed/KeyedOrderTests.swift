import Batching
import BatchingTesting
import Testing

@Suite("By key: batches of one key, in order, one at a time", .timeLimit(.minutes(5)))
struct KeyedOrderTests {
  private struct Broken: Error {}

  @Test(arguments: [1, 2, 3])
  func aBatchHasOneKeyAndIsFullAtItsOwnSize(size: Int) async throws {
    let rig = try KeyedRig(.init(batchSize: size, linger: .seconds(1), concurrency: 2, capacity: 100), handler: .open())
    try await rig.run { _ in
      for number in 1...size { try await rig.send("a\(number) b\(number)") }
      try await rig.handler.waitForCalls(count: 2)
    }
    let numbers = 1...size
    #expect(
      Set(rig.calls) == [
        numbers.map { "a\($0)" }.joined(separator: " "), numbers.map { "b\($0)" }.joined(separator: " "),
      ])
    #expect(rig.handler.inputs.allSatisfy { $0.trigger == .size })
  }

  /// Broadway's `batch_key`: messages with different keys never share a batch, and each batch fills by itself.
  @Test
  func othersGoOnWhileAKeyIsBusy() async throws {
    let rig = try KeyedRig(.init(batchSize: 1, concurrency: 2, capacity: 100))
    try await rig.run { _ in
      try await rig.send("a1 a2 a3")
      // Two slots start at the same time: only when the first has begun is it known which call is the second.
      let first = try await rig.handler.call(0)
      #expect(first.input.messages == items("a1"))
      // a2 and a3 wait for a1; b and c have the other slot.
      try await rig.send("b1 c1")
      try await rig.handler.call(1).succeed()
      try await rig.handler.call(2).succeed()
      #expect(rig.calls == ["a1", "b1", "c1"])
      #expect(rig.handler.running <= 2)
      first.succeed()
      try await rig.handler.call(3).succeed()
      try await rig.handler.call(4).succeed()
      try await rig.aggregator.flush()
      #expect(rig.calls.suffix(2) == ["a2", "a3"])
    }
  }

  /// Kafka's order in a partition with retries and `max.in.flight.requests.per.connection` of 1 or idempotence.
  @Test
  func aBatchThatIsRetriedIsNotOvertakenByTheNextOfItsKey() async throws {
    let rig = try KeyedRig(
      .init(
        batchSize: 2, concurrency: 4, capacity: 100,
        retry: .exponential(maximumAttempts: 3, initial: .seconds(1), maximum: .seconds(1))))
    try await rig.run { _ in
      try await rig.send("a1 a2 a3 a4")
      try await rig.handler.call(0).fail(Broken())
      try await rig.clock.waitForSleepers()
      #expect(rig.calls == ["a1 a2"])
      rig.clock.advance(by: .seconds(1))
      let second = try await rig.handler.call(1)
      #expect(second.input.messages == items("a1 a2"))
      #expect(second.input.attempt == 2)
      #expect(second.input.sequenceNumber == rig.handler.inputs[0].sequenceNumber)
      second.succeed()
      try await rig.handler.call(2).succeed()
      #expect(rig.calls == ["a1 a2", "a1 a2", "a3 a4"])
    }
  }

  @Test
  func theHalvesOfABatchComeBeforeTheNext() async throws {
    let poison = Item("a", 2)
    let rig = try KeyedRig(
      .init(
        batchSize: 4, concurrency: 4, capacity: 100,
        retry: .exponential(maximumAttempts: 1, isolatesPoisonMessages: true)),
      handler: .open { if $0.contains(poison) { throw Broken() } })
    try await rig.run { _ in
      try await rig.send("a1 a2 a3 a4 a5 a6 a7 a8")
      try await rig.aggregator.flush()
      #expect(rig.calls == ["a1 a2 a3 a4", "a1 a2", "a1", "a2", "a3 a4", "a5 a6 a7 a8"])
      #expect(rig.fates.handled.map(\.number) == [1, 3, 4, 5, 6, 7, 8])
      #expect(rig.statistics.failed == 1)
    }
  }

  @Test
  func whatIsLeftOfAPartialFailureComesBeforeTheNext() async throws {
    let rig = try KeyedRig(
      .init(batchSize: 3, concurrency: 2, capacity: 100, retry: .exponential(initial: .zero, maximum: .zero)))
    try await rig.run { _ in
      try await rig.send("a1 a2 a3 a4 a5 a6")
      try await rig.handler.call(0).fail(PartialBatchFailure([1: Broken()]))
      try await rig.handler.call(1).succeed()
      try await rig.handler.call(2).succeed()
      #expect(rig.calls == ["a1 a2 a3", "a2", "a4 a5 a6"])
    }
  }

  @Test
  func lingerCountsForEachKeyFromItsFirstMessage() async throws {
    let rig = try KeyedRig(.init(batchSize: 10, linger: .seconds(5), capacity: 100), handler: .open())
    try await rig.run { _ in
      try await rig.send("a1")
      try await rig.clock.waitForSleeper(until: .seconds(5))
      rig.clock.advance(by: .seconds(2))
      try await rig.send("b1 a2")
      rig.clock.advance(by: .seconds(3))
      try await rig.handler.waitForCalls(count: 1)
      #expect(rig.calls == ["a1 a2"])
      try await rig.clock.waitForSleeper(until: .seconds(7))
      rig.clock.advance(by: .seconds(2))
      try await rig.handler.waitForCalls(count: 2)
      #expect(rig.calls == ["a1 a2", "b1"])
      #expect(rig.handler.inputs.allSatisfy { $0.trigger == .linger })
    }
  }

  @Test
  func oneTimerForAllKeysThatIsNotArmedAnewForEach() async throws {
    let rig = try KeyedRig(.init(batchSize: 2, linger: .seconds(5), capacity: 10_000), handler: .open())
    try await rig.run { _ in
      for number in 0..<1000 {
        try await rig.aggregator.send(Item("k\(number)", 1))
        try await rig.aggregator.send(Item("k\(number)", 2))
      }
      for number in 0..<1000 { try await rig.aggregator.send(Item("k\(number)", 3)) }
      try await rig.handler.waitForCalls(count: 1000)
      #expect(rig.clock.deadlines.count <= 1)
      rig.clock.advance(by: .seconds(5))
      try await rig.handler.waitForCalls(count: 2000)
      try await rig.aggregator.flush()
      #expect(rig.clock.sleepCalls <= 3)
    }
  }

  @Test
  func aDueBatchGrowsWhileItsKeyIsBusy() async throws {
    let rig = try KeyedRig(.init(batchSize: 3, linger: .zero, concurrency: 2, capacity: 100))
    try await rig.run { _ in
      try await rig.send("a1")
      let first = try await rig.handler.call(0)
      try await rig.send("a2 a3")
      first.succeed()
      try await rig.handler.call(1).succeed()
      #expect(rig.calls == ["a1", "a2 a3"])
    }
  }

  @Test
  func aFlushClosesTheBatchesOfAllKeysAndWaitsForThemAlone() async throws {
    let rig = try KeyedRig(.init(batchSize: 10, linger: .seconds(60), concurrency: 3, capacity: 100))
    try await rig.run { _ in
      try await rig.send("a1 b1")
      let aggregator = rig.aggregator
      let flush = Begun { try await aggregator.flush() }
      try await rig.handler.waitForCalls(count: 2)
      try await rig.send("a2 c1")
      #expect(Set(rig.calls) == ["a1", "b1"])
      #expect(rig.handler.inputs.allSatisfy { $0.trigger == .flush })
      try await rig.handler.call(0).succeed()
      #expect(!flush.hasEnded)
      try await rig.handler.call(1).succeed()
      try await flush.value
      #expect(rig.statistics.held == 2)
    }
  }

  @Test
  func weightsCountForEachKey() async throws {
    let rig = try KeyedRig(
      .init(batchSize: 10, linger: .seconds(60), capacity: 100, maximumBatchWeight: 5), handler: .open(),
      weight: { $0.number })
    try await rig.run { _ in
      try await rig.send("a3 b4 a2 b2")
      try await rig.handler.waitForCalls(count: 2)
      #expect(rig.calls == ["a3 a2", "b4"])
      #expect(rig.handler.inputs.allSatisfy { $0.trigger == .weight })
      #expect(rig.aggregator.trySend(Item("c", 6)) == .tooHeavy)
    }
  }
}
