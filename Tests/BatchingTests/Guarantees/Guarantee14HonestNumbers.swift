import Batching
import BatchingTesting
import Testing

/// Step by step; that they add up under load too is for the tests of the ledger in `Parallel`.
@Suite("Guarantee 14: honest numbers", .timeLimit(.minutes(5)))
struct Guarantee14HonestNumbers {
  @Test
  func aNewAggregatorsAreAllZero() throws {
    let aggregator = try Aggregator<Int> { _ in }
    #expect(aggregator.statistics == AggregatorStatistics())
    #expect(Set(aggregator.statistics.batches.keys) == Set(Trigger.allCases))
    #expect(Set(Trigger.allCases) == [.size, .weight, .linger, .flush, .shutdown, .split])
  }

  @Test
  func eachStepIsCountedWhereItHappens() async throws {
    let rig = try Rig(
      .init(
        batchSize: 2, linger: .seconds(60), capacity: 4,
        retry: .exponential(maximumAttempts: 2, initial: .seconds(1))),
      failures: .gated())
    var expected = AggregatorStatistics()
    func check(_ what: Comment, sourceLocation: SourceLocation = #_sourceLocation, change: () -> Void) async throws {
      change()
      try await eventually(what, sourceLocation: sourceLocation) { rig.aggregator.statistics == expected }
    }
    try await rig.run { rig in
      try await rig.aggregator.send(1)
      expected.accepted = 1
      expected.held = 1
      #expect(rig.aggregator.statistics == expected, "in the open batch")

      try await rig.aggregator.send(2)
      try await rig.handler.waitForCalls(count: 1)
      expected.accepted = 2
      expected.held = 2
      expected.inFlight = 2
      expected.batches[.size] = 1
      #expect(rig.aggregator.statistics == expected, "in the handler")

      try await rig.aggregator.send(contentsOf: [3, 4])
      #expect(rig.aggregator.trySend(5) == .full)
      expected.accepted = 4
      expected.held = 4
      expected.rejected = 1
      #expect(rig.aggregator.statistics == expected, "refused")

      let waiting = Begun { try await rig.aggregator.send(6) }
      try await check("a sender waits") { expected.waitingSenders = 1 }

      try await rig.handler.call(0).fail(PartialBatchFailure([1: Failure()]))
      try await waiting.value
      try await check("one is handled, one waits for its retry, and there is room") {
        expected.handled = 1
        expected.accepted = 5
        expected.waitingSenders = 0
        expected.inFlight = 0
      }
      #expect(rig.handler.count == 1)

      try await rig.clock.waitForSleepers(count: 2)
      rig.clock.advance(by: .seconds(30))
      let retry = try await rig.handler.call(1)
      try await check("the retry") {
        expected.retries = 1
        expected.inFlight = 1
      }

      retry.fail(Failure())
      let failure = try await rig.failures.call(0)
      #expect(rig.aggregator.statistics.failed == 0, "onFailure has not returned")
      #expect(rig.aggregator.statistics.addsUp)
      failure.succeed()
      try await rig.handler.waitForCalls(count: 3)
      try await check("it has failed, and the next batch is in the handler") {
        expected.failed = 1
        expected.held = 3
        expected.inFlight = 2
        expected.batches[.size] = 2
      }

      let flush = Begun { try await rig.aggregator.flush() }
      try await rig.handler.call(2).succeed()
      try await rig.handler.waitForCalls(count: 4)
      try await check("the flush's batch is in the handler") {
        expected.handled = 3
        expected.held = 1
        expected.inFlight = 1
        expected.batches[.flush] = 1
      }
      try await rig.handler.call(3).succeed()
      try await flush.value
      expected.handled = 4
      expected.held = 0
      expected.inFlight = 0
      #expect(rig.aggregator.statistics == expected, "all is settled")
    }
    #expect(rig.aggregator.statistics == expected)
  }

  @Test(arguments: batchSizes, slotCounts)
  func theyAddUpAsHandlersSeeThem(batchSize: Int, concurrency: Int) async throws {
    let aggregator = Watched<Aggregator<Int>?>(nil)
    defer { aggregator.change { $0 = nil } }
    let seen = Watched<[AggregatorStatistics]>([])
    let look: @Sendable () -> Void = {
      guard let statistics = aggregator.current?.statistics else { return }
      seen.change { $0.append(statistics) }
    }
    let made = try Aggregator<Int>(
      configuration: .init(batchSize: batchSize, linger: .zero, concurrency: concurrency)
    ) { batch in
      look()
      if batch.sequenceNumber.isMultiple(of: 3) { throw Failure() }
    } onFailure: { _ in
      look()
    }
    aggregator.change { $0 = made }
    try await whileRunning(made) { _ in
      for message in 0..<60 { try await made.send(message) }
    }
    #expect(seen.current.allSatisfy { $0.addsUp })
    #expect(seen.current.allSatisfy { $0.inFlight <= batchSize * concurrency && $0.inFlight <= $0.held })
    #expect(made.statistics.handled + made.statistics.failed == 60)
  }

  @Test
  func batchesAreCountedByWhatMadeThemDue() async throws {
    // Each message weighs its value.
    let rig = try Rig(
      .init(batchSize: 3, linger: .milliseconds(10), maximumBatchWeight: 100), handler: .open(), weight: { $0 })
    try await rig.run { rig in
      try await rig.aggregator.send(contentsOf: [1, 2, 3])
      try await rig.aggregator.send(contentsOf: [90, 10])
      try await rig.aggregator.send(4)
      try await rig.aggregator.flush()
      rig.clock.advance(by: .milliseconds(10))
      try await rig.aggregator.send(5)
      try await rig.clock.waitForSleeper(until: .milliseconds(20))
      rig.clock.advance(by: .milliseconds(10))
      try await rig.handler.waitForCalls(count: 4)
      try await rig.aggregator.send(6)
    }
    #expect(rig.handler.inputs.map(\.trigger) == [.size, .weight, .flush, .linger, .shutdown])
    #expect(
      rig.aggregator.statistics.batches
        == [.size: 1, .weight: 1, .flush: 1, .linger: 1, .shutdown: 1, .split: 0])
  }
}
