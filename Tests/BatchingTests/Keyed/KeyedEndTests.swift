import Batching
import BatchingTesting
import ServiceLifecycle
import ServiceLifecycleTestKit
import Testing

@Suite("By key: an orderly end", .timeLimit(.minutes(5)))
struct KeyedEndTests {
  private struct Broken: Error {}

  @Test
  func aShutdownSettlesAllKeysWithoutWaitingForLinger() async throws {
    let rig = try KeyedRig(.init(batchSize: 10, linger: .seconds(60), concurrency: 2, capacity: 100), handler: .open())
    try await rig.run { run in
      try await rig.send("a1 b1 c1 a2")
      rig.aggregator.shutdown()
      try await run.value
      #expect(Set(rig.calls) == ["a1 a2", "b1", "c1"])
      #expect(rig.handler.inputs.allSatisfy { $0.trigger == .shutdown })
      #expect(rig.clock.elapsed == .zero)
    }
  }

  @Test
  func whatBacksOffIsStillTriedInADrain() async throws {
    let rig = try KeyedRig(
      .init(
        batchSize: 1, concurrency: 2, capacity: 100,
        retry: .exponential(maximumAttempts: 2, initial: .seconds(9), maximum: .seconds(9))))
    try await rig.run { run in
      try await rig.send("a1 a2")
      try await rig.handler.call(0).fail(Broken())
      try await rig.clock.waitForSleepers()
      rig.aggregator.shutdown()
      #expect(!run.hasEnded)
      rig.clock.advance(by: .seconds(9))
      try await rig.handler.call(1).succeed()
      try await rig.handler.call(2).succeed()
      try await run.value
      #expect(rig.calls == ["a1", "a1", "a2"])
    }
  }

  @Test
  func aDrainThatTimesOutGivesUpWhatBacksOffAndWhatWaits() async throws {
    let rig = try KeyedRig(
      .init(
        batchSize: 1, concurrency: 1, capacity: 100,
        retry: .exponential(maximumAttempts: 2, initial: .seconds(90), maximum: .seconds(90)), drainTimeout: .seconds(5)
      ))
    try await rig.run { run in
      try await rig.send("a1 a2 b1")
      try await rig.handler.call(0).fail(Broken())
      let second = try await rig.handler.call(1)
      #expect(second.input.messages == items("b1"))
      rig.aggregator.shutdown()
      try await rig.clock.waitForSleepers()
      rig.clock.advance(by: .seconds(5))
      try await second.waitUntilCancelled()
      try await run.value
      #expect(rig.fates.each.count == 3)
      for failure in rig.failures.inputs { #expect(failure.error as? AggregatorError == .drainTimedOut) }
      #expect(rig.statistics.failed == 3)
    }
  }

  @Test
  func aCancelledRunGivesAllUp() async throws {
    let rig = try KeyedRig(
      .init(
        batchSize: 2, linger: .seconds(60), concurrency: 1, capacity: 100,
        retry: .exponential(initial: .seconds(90), maximum: .seconds(90))))
    try await rig.run { run in
      try await rig.send("a1 a2 a3 b1 b2 c1")
      try await rig.handler.call(0).fail(Broken())
      _ = try await rig.handler.call(1)
      run.cancel()
      #expect(await run.error is CancellationError)
      #expect(rig.handler.count == 2)
      #expect(rig.statistics.failed == 6)
    }
  }

  @Test
  func aHandlerTimeoutCancelsTheCall() async throws {
    let rig = try KeyedRig(.init(batchSize: 1, concurrency: 1, capacity: 100, handlerTimeout: .seconds(3)))
    try await rig.run { _ in
      try await rig.send("a1 b1")
      _ = try await rig.handler.call(0)
      try await rig.clock.waitForSleeper(until: .seconds(3))
      rig.clock.advance(by: .seconds(3))
      try await rig.handler.call(1).succeed()
      try await rig.aggregator.flush()
      #expect(rig.failures.inputs.map(\.messages) == [items("a1")])
      #expect(rig.failures.inputs.first?.error as? AggregatorError == .handlerTimedOut)
    }
  }

  @Test
  func aSecondRunThrowsAndDisturbsNothing() async throws {
    let rig = try KeyedRig(.init(batchSize: 1), handler: .open())
    try await rig.run { _ in
      await #expect(throws: AggregatorError.alreadyRun) { try await rig.aggregator.run() }
      try await rig.send("a1")
      try await rig.aggregator.flush()
      #expect(rig.statistics.handled == 1)
    }
  }

  @Test
  func aServiceGroupEndsIt() async throws {
    let rig = try KeyedRig(.init(batchSize: 10, linger: .seconds(60)), handler: .open())
    let aggregator = rig.aggregator
    try await testGracefulShutdown { trigger in
      try await withThrowingTaskGroup { group in
        group.addTask { try await aggregator.run() }
        try await aggregator.send(contentsOf: items("a1 b1"))
        trigger.triggerGracefulShutdown()
        try await group.waitForAll()
      }
    }
    #expect(rig.statistics.handled == 2)
  }

  @Test
  func oneThatIsThrownAwayDestroysItsMessages() async throws {
    final class Traced: Sendable {
      let alive: Watched<Int>
      init(_ alive: Watched<Int>) {
        self.alive = alive
        alive.change { $0 += 1 }
      }
      deinit { alive.change { $0 -= 1 } }
    }
    let alive = Watched(0)
    do {
      let aggregator = try KeyedAggregator<Int, Traced>(
        configuration: .init(batchSize: 3, capacity: 100), key: { _ in .random(in: 0..<5) }, handler: { _, _ in })
      for _ in 0..<50 { _ = aggregator.trySend(Traced(alive)) }
      #expect(alive.current > 10)
    }
    #expect(alive.current == 0)
  }

  @Test
  func badConfigurationIsRefused() {
    #expect(throws: AggregatorError.invalidConfiguration("batchSize", was: "0", allowed: "1 or more")) {
      try KeyedAggregator<Int, Int>(configuration: .init(batchSize: 0), key: { $0 }, handler: { _, _ in })
    }
  }

  @Test
  func consumeSendsAllOfASequence() async throws {
    let rig = try KeyedRig(.init(batchSize: 2, linger: .zero), handler: .open())
    try await rig.run { _ in
      let (stream, source) = AsyncStream.makeStream(of: Item.self)
      for item in items("a1 b1 a2") { source.yield(item) }
      source.finish()
      try await rig.aggregator.consume(stream)
      #expect(rig.statistics.accepted == 3)
    }
  }
}
