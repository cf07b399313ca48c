import BatchingTesting
import CoreMetrics
import MetricsTestKit
import Testing

@testable import Batching

@Suite("Metrics", .timeLimit(.minutes(5)))
struct MetricsTests {
  private let metrics = WatchedMetrics()

  private func rig(
    _ configuration: AggregatorConfiguration, handler: GatedHandler<Batch<Int>> = .gated()
  ) throws -> Rig {
    try withMetricsFactory(metrics) { try Rig(configuration, handler: handler) }
  }

  /// The counters say what the aggregator says, and the gauges are back at zero.
  private func expectTheLedger(_ statistics: AggregatorStatistics, _ location: SourceLocation = #_sourceLocation) {
    let counted = AggregatorStatistics.having {
      $0.accepted = metrics.count("message.accepted")
      $0.handled = metrics.count("message.handled")
      $0.failed = metrics.count("message.failed")
      $0.dropped = metrics.count("message.dropped")
      $0.cancelled = metrics.count("message.cancelled")
      $0.rejected = metrics.count("message.rejected")
      $0.retries = metrics.count("attempt.retries")
      for trigger in Trigger.allCases { $0.batches[trigger] = metrics.batches(trigger.description) }
    }
    #expect(counted == statistics, sourceLocation: location)
    #expect(metrics.gauge("message.held") == 0, sourceLocation: location)
    #expect(metrics.gauge("message.in_flight") == 0, sourceLocation: location)
    #expect(metrics.gauge("sender.waiting") == 0, sourceLocation: location)
  }

  @Test
  func aBatchShowsItsSizeItsWaitAndItsDuration() async throws {
    let rig = try rig(.init(batchSize: 4, linger: .milliseconds(10), capacity: 8))
    try await rig.run { rig in
      try await rig.aggregator.send(1)
      rig.clock.advance(by: .milliseconds(3))
      try await rig.aggregator.send(contentsOf: [2, 3, 4])
      let first = try await rig.handler.call(0)
      #expect(metrics.gauge("message.held") == 4)
      #expect(metrics.gauge("message.in_flight") == 4)
      rig.clock.advance(by: .milliseconds(5))
      first.succeed()
      try await rig.aggregator.send(5)
      try await rig.clock.waitForSleeper(until: .milliseconds(18))
      rig.clock.advance(by: .milliseconds(10))
      try await rig.handler.call(1).fail(Failure())
      try await rig.aggregator.flush()
    }
    #expect(metrics.recorded("batch.size") == [4, 1])
    #expect(metrics.recorded("batch.fill") == [1, 0.25])
    #expect(metrics.times("batch.wait") == [.milliseconds(3), .milliseconds(10)])
    #expect(metrics.times("handler.duration", outcome: "success") == [.milliseconds(5)])
    #expect(metrics.times("handler.duration", outcome: "failure") == [.zero])
    #expect(metrics.batches("size") == 1)
    #expect(metrics.batches("linger") == 1)
    expectTheLedger(rig.aggregator.statistics)
  }

  @Test
  func retriesAndHalvesAreCounted() async throws {
    let rig = try rig(
      .init(
        batchSize: 4,
        retry: .exponential(maximumAttempts: 2, initial: .zero, maximum: .zero, isolatesPoisonMessages: true)),
      handler: .open { if $0.messages.contains(3) { throw Failure() } })
    try await rig.run { rig in
      try await rig.aggregator.send(contentsOf: 1...4)
      try await rig.aggregator.flush()
    }
    // [1,2,3,4] twice, [1,2], [3,4], [3], [4].
    #expect(metrics.count("attempt.retries") == 5)
    #expect(metrics.batches("split") == 4)
    #expect(metrics.times("handler.duration", outcome: "failure").count == 4)
    #expect(metrics.times("handler.duration", outcome: "success").count == 2)
    #expect(metrics.recorded("batch.size") == [4], "a half is no batch that was collected")
    #expect(metrics.count("message.failed") == 1)
    expectTheLedger(rig.aggregator.statistics)
  }

  @Test
  func aPartialFailureCountsOnBothSides() async throws {
    let rig = try rig(
      .init(batchSize: 3, retry: .exponential(maximumAttempts: 2, initial: .zero, maximum: .zero)),
      handler: .open { batch in
        throw PartialBatchFailure([batch.count - 1: Failure()])
      })
    try await rig.run { rig in
      try await rig.aggregator.send(contentsOf: 1...3)
      try await rig.aggregator.flush()
    }
    #expect(metrics.count("message.handled") == 2)
    #expect(metrics.count("message.failed") == 1)
    #expect(metrics.count("attempt.retries") == 1)
    expectTheLedger(rig.aggregator.statistics)
  }

  @Test
  func inABackOffNothingIsInFlight() async throws {
    let rig = try rig(
      .init(batchSize: 2, retry: .exponential(maximumAttempts: 2, initial: .seconds(1), maximum: .seconds(9))))
    try await rig.run { rig in
      try await rig.aggregator.send(contentsOf: 1...2)
      try await rig.handler.call(0).fail(Advice(isRetryable: true, retryAfter: .seconds(5)))
      try await rig.clock.waitForSleeper(until: .seconds(5))
      #expect(metrics.gauge("message.in_flight") == 0)
      #expect(metrics.gauge("message.held") == 2)
      rig.clock.advance(by: .seconds(5))
      let second = try await rig.handler.call(1)
      #expect(metrics.gauge("message.in_flight") == 2)
      #expect(metrics.count("attempt.retries") == 1)
      second.succeed()
    }
    expectTheLedger(rig.aggregator.statistics)
  }

  @Test
  func droppedMessagesShowThoughNoBatchEnds() async throws {
    let rig = try rig(.init(batchSize: 2, capacity: 4, overflow: .dropOldest))
    try await rig.run { rig in
      try await rig.aggregator.send(contentsOf: [1, 2])
      let stuck = try await rig.handler.call(0)
      try await rig.aggregator.send(contentsOf: [3, 4, 5])
      try await rig.failures.waitForCalls(count: 1)
      #expect(metrics.count("message.dropped") == 1)
      stuck.succeed()
    }
    // 3 came and went; 4 is the first of the batch that was left.
    #expect(metrics.recorded("batch.size") == [2, 1, 1])
    expectTheLedger(rig.aggregator.statistics)
  }

  @Test
  func theWaitIsThatOfTheFirstMessageThatIsLeft() async throws {
    let rig = try rig(.init(batchSize: 2, linger: .seconds(9), capacity: 3, overflow: .dropOldest))
    try await rig.run { rig in
      try await rig.aggregator.send(contentsOf: [1, 2])
      let first = try await rig.handler.call(0)
      try await rig.aggregator.send(3)
      rig.clock.advance(by: .seconds(4))
      try await rig.aggregator.send(4)  // pushes out 3
      rig.clock.advance(by: .seconds(1))
      first.succeed()
      let flush = Begun { try await rig.aggregator.flush() }
      try await rig.handler.call(1).succeed()
      try await flush.value
    }
    #expect(metrics.times("batch.wait") == [.zero, .seconds(1)])
    expectTheLedger(rig.aggregator.statistics)
  }

  @Test
  func hugeLingersAndWaitsDoNotTrap() async throws {
    let rig = try rig(.init(batchSize: 2, linger: .seconds(Int64.max)), handler: .open())
    try await rig.run { rig in
      try await rig.aggregator.send(1)
      rig.clock.advance(by: .seconds(Int64.max / 4))
      try await rig.aggregator.flush()
    }
    #expect(metrics.times("batch.wait") == [.nanoseconds(Int64.max)])
  }

  @Test
  func aStuckHandlerShowsInItsSenders() async throws {
    let rig = try rig(.init(batchSize: 2, capacity: 2))
    try await rig.run { rig in
      try await rig.aggregator.send(contentsOf: [1, 2])
      let stuck = try await rig.handler.call(0)
      let waiting = Begun { try await rig.aggregator.send(3) }
      try await eventually("it waits") { rig.aggregator.statistics.waitingSenders == 1 }
      try await eventually("it shows") { metrics.gauge("sender.waiting") == 1 }
      #expect(metrics.gauge("message.held") == 2)
      // Not more than once a second …
      for _ in 1...10 { #expect(rig.aggregator.trySend(4) == .full) }
      #expect(metrics.count("message.rejected") == 0)
      // … and no later than the first that is refused after it.
      rig.clock.advance(by: .seconds(1))
      #expect(rig.aggregator.trySend(4) == .full)
      #expect(metrics.count("message.rejected") == 11)
      stuck.succeed()
      try await waiting.value
    }
    expectTheLedger(rig.aggregator.statistics)
  }

  @Test
  func aCancelledSenderAndACancelledRunEndAtZero() async throws {
    let rig = try rig(.init(batchSize: 2, capacity: 2))
    try await rig.run { rig, run in
      try await rig.aggregator.send(contentsOf: [1, 2])
      let call = try await rig.handler.call(0)
      let waiting = Begun { try await rig.aggregator.send(3) }
      try await eventually("it waits") { rig.aggregator.statistics.waitingSenders == 1 }
      waiting.cancel()
      #expect(await waiting.error is CancellationError)
      run.cancel()
      try await call.waitUntilEnded()
    }
    #expect(metrics.count("message.failed") == 2)
    expectTheLedger(rig.aggregator.statistics)
  }

  @Test
  func underLoadTheCountersAreTheLedger() async throws {
    let aggregator = try withMetricsFactory(metrics) {
      try Aggregator<Int>(
        configuration: .init(
          batchSize: 8, linger: .zero, concurrency: 4, capacity: 64,
          retry: .exponential(maximumAttempts: 2, initial: .zero, maximum: .zero, isolatesPoisonMessages: true))
      ) { batch in
        if batch.sequenceNumber % 7 == 0 { throw Failure() }
        if batch.sequenceNumber % 5 == 0 { throw PartialBatchFailure([0: Failure()]) }
      }
    }
    try await whileRunning(aggregator) { _ in
      await withTaskGroup { group in
        for sender in 0..<4 {
          group.addTask {
            for message in 0..<2_000 {
              if sender < 2 { try? await aggregator.send(message) } else { _ = aggregator.trySend(message) }
            }
          }
        }
      }
    }
    #expect(aggregator.statistics.accepted >= 4_000)
    expectTheLedger(aggregator.statistics)
  }

  @Test
  func handlesAreMadeOnceAndBearTheName() async throws {
    let aggregator = try withMetricsFactory(metrics) {
      try Aggregator<Int>(name: "orders", configuration: .init(batchSize: 2)) { _ in }
    }
    let made = metrics.made.current
    #expect(Set(made).count == 15)
    try await whileRunning(aggregator) { _ in
      try await aggregator.send(contentsOf: 1...5)
      try await aggregator.flush()
    }
    #expect(metrics.made.current == made)
    #expect(
      metrics.values.counterTotal(
        label: "batching.message.handled", dimensions: [("batching.aggregator", "orders")]) == 5)
  }

  @Test
  func withoutABackendThereIsNothing() throws {
    let aggregator = try Aggregator<Int> { _ in }
    #expect(aggregator.core.metrics == nil)
    let explicit = try withMetricsFactory(NOOPMetricsHandler.instance) { try Aggregator<Int> { _ in } }
    #expect(explicit.core.metrics == nil)
  }

  @Test
  func aBackendMayAskTheAggregator() async throws {
    let rig = try rig(.init(batchSize: 1, capacity: 1), handler: .open())
    let sent = Watched(1)
    metrics.onUse.change { [aggregator = rig.aggregator] in
      $0 = {
        _ = aggregator.statistics
        // Each batch publishes, so without an end to it each would beget the next.
        let message = sent.change {
          $0 += 1
          return $0
        }
        if message < 50 { _ = aggregator.trySend(message) }
      }
    }
    try await rig.run { rig in
      try await rig.aggregator.send(1)
      try await rig.aggregator.flush()
    }
    metrics.onUse.change { $0 = {} }
  }

  @Test
  func aWorkerDoesNotParkBeforeAllIsPublished() async throws {
    let rig = try withMetricsFactory(metrics) {
      try Rig(
        .init(batchSize: 1, linger: .seconds(9_000), maximumBatchWeight: 10), handler: .open(), weight: { $0 })
    }
    let refused = Watched(0)
    metrics.onUse.change { [aggregator = rig.aggregator, clock = rig.clock] in
      $0 = {
        guard
          refused.change({
            $0 += 1; return $0 <= 30
          })
        else { return }
        // Too heavy, and a second after the last: it asks whoever publishes to do it again.
        clock.advance(by: .seconds(1))
        _ = aggregator.trySend(11)
      }
    }
    try await rig.run { rig in
      try await rig.aggregator.send(1)
      try await eventually("all are shown, though no other batch comes") { metrics.count("message.rejected") == 30 }
    }
    metrics.onUse.change { $0 = {} }
    expectTheLedger(rig.aggregator.statistics)
  }
}
