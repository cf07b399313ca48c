import Batching
import BatchingTesting
import Testing

@Suite("Guarantee 10: a drain with a time-out", .timeLimit(.minutes(5)))
struct Guarantee10Drain {
  /// Lets the drain's time run out, once the aggregator sleeps until then.
  private func timeOut(_ rig: Rig, at offset: Duration) async throws {
    try await rig.clock.waitForSleeper(until: offset)
    rig.clock.advance(to: offset)
  }

  @Test(arguments: batchSizes)
  func pastItHandlersAreCancelledAndTheRestIsGivenUp(batchSize: Int) async throws {
    let rig = try Rig(.init(batchSize: batchSize, linger: .seconds(60), drainTimeout: .seconds(5)))
    let count = 3 * batchSize
    try await rig.run { rig, run in
      try await rig.aggregator.send(contentsOf: 0..<count)
      rig.clock.advance(by: .seconds(1))
      rig.aggregator.shutdown()
      let call = try await rig.handler.call(0)
      try await rig.clock.waitForSleeper(until: .seconds(6))
      rig.clock.advance(to: .milliseconds(5_999))
      await settle()
      #expect(!call.isCancelled)
      rig.clock.advance(to: .seconds(6))
      try await run.value
      #expect(call.isCancelled)
    }
    #expect(rig.fates.all == .of(failed: Array(0..<count), because: AggregatorError.drainTimedOut))
    // The one that was begun threw something, the others never reached the handler.
    let items = rig.failures.inputs.flatMap { failure in failure.items.map { ($0, failure.attempts) } }
    for (item, attempts) in items {
      let error = try #require(item.error as? AggregatorError)
      #expect(attempts == (item.message < batchSize ? 1 : 0))
      #expect((error.underlyingError is CancellationError) == (item.message < batchSize))
      #expect((error.underlyingError == nil) == (item.message >= batchSize))
    }
    #expect(rig.handler.count == 1)
  }

  @Test(arguments: slotCounts)
  func allSlotsAreCancelled(concurrency: Int) async throws {
    let rig = try Rig(
      .init(batchSize: 1, concurrency: concurrency, drainTimeout: .seconds(5)))
    try await rig.run { rig, run in
      try await rig.aggregator.send(contentsOf: 0..<(concurrency + 1))
      try await rig.handler.waitForCalls(count: concurrency)
      rig.aggregator.shutdown()
      try await timeOut(rig, at: .seconds(5))
      try await run.value
    }
    #expect(rig.fates.all == .of(failed: Array(0...concurrency), because: AggregatorError.drainTimedOut))
  }

  @Test
  func aHandlerThatReturnsAllTheSameHasHandledItsMessages() async throws {
    let rig = try Rig(
      .init(batchSize: 2, linger: .seconds(60), drainTimeout: .seconds(5)), handler: .gated(whenCancelled: .returning))
    try await rig.run { rig, run in
      try await rig.aggregator.send(contentsOf: 1...3)
      try await rig.handler.waitForCalls(count: 1)
      rig.aggregator.shutdown()
      try await timeOut(rig, at: .seconds(5))
      try await run.value
    }
    let expected = [Int: [Fate]].of(handled: [1, 2], failed: [3], because: AggregatorError.drainTimedOut)
    #expect(rig.fates.all == expected)
  }

  @Test
  func runWaitsForAHandlerThatIgnoresIt() async throws {
    let rig = try Rig(.init(batchSize: 1, drainTimeout: .seconds(5)), handler: .gated(whenCancelled: .stubborn))
    try await rig.run { rig, run in
      try await rig.aggregator.send(1)
      let call = try await rig.handler.call(0)
      rig.aggregator.shutdown()
      try await timeOut(rig, at: .seconds(5))
      try await call.waitUntilCancelled()
      await settle()
      #expect(!run.hasEnded)
      call.fail(Failure())
      try await run.value
    }
    #expect(rig.fates.all == .of(failed: [1], because: AggregatorError.drainTimedOut))
    let error = rig.failures.inputs.first?.error as? AggregatorError
    #expect(error?.underlyingError as? Failure == Failure())
  }

  @Test
  func itEndsABackOff() async throws {
    let rig = try Rig(
      .init(
        batchSize: 1, linger: .zero,
        retry: .exponential(initial: .seconds(600), maximum: .seconds(600)), drainTimeout: .seconds(5)))
    try await rig.run { rig, run in
      try await rig.aggregator.send(1)
      // No jitter: the back-off must outlast the drain.
      try await rig.handler.call(0).fail(Advice(isRetryable: true, retryAfter: .seconds(600)))
      try await rig.clock.waitForSleepers()
      rig.aggregator.shutdown()
      try await timeOut(rig, at: .seconds(5))
      try await run.value
    }
    #expect(rig.handler.count == 1)
    #expect(rig.fates.all == .of(failed: [1], because: AggregatorError.drainTimedOut))
    let failure = try #require(rig.failures.inputs.first)
    #expect(failure.attempts == 1)
    #expect((failure.error as? AggregatorError)?.underlyingError is Advice)
  }

  @Test
  func itLetsOnFailureFinish() async throws {
    let rig = try Rig(
      .init(batchSize: 1, drainTimeout: .seconds(5)), handler: .open { _ in throw Failure() }, failures: .gated())
    try await rig.run { rig, run in
      try await rig.aggregator.send(1)
      let call = try await rig.failures.call(0)
      rig.aggregator.shutdown()
      try await timeOut(rig, at: .seconds(5))
      await settle()
      #expect(!call.isCancelled)
      #expect(!run.hasEnded)
      call.succeed()
      try await run.value
    }
    #expect(rig.fates.all == .of(failed: [1]))
  }

  @Test
  func aDrainThatIsDoneInTimeLosesNothing() async throws {
    let rig = try Rig(.init(batchSize: 2, linger: .seconds(60), drainTimeout: .seconds(5)))
    try await rig.run { rig, run in
      try await rig.aggregator.send(contentsOf: 1...3)
      rig.aggregator.shutdown()
      let call = try await rig.handler.call(0)
      rig.clock.advance(by: .seconds(4))
      call.succeed()
      try await rig.handler.call(1).succeed()
      try await run.value
    }
    #expect(rig.fates.all == .of(handled: [1, 2, 3]))
  }

  @Test
  func itCountsFromTheStartOfRunIfThatIsLater() async throws {
    let rig = try Rig(.init(batchSize: 1, drainTimeout: .seconds(5)))
    try await rig.aggregator.send(1)
    rig.aggregator.shutdown()
    rig.clock.advance(by: .seconds(100))
    try await rig.run { rig, run in
      let call = try await rig.handler.call(0)
      try await rig.clock.waitForSleeper(until: .seconds(105))
      #expect(!call.isCancelled)
      rig.clock.advance(to: .seconds(105))
      try await run.value
    }
    #expect(rig.fates.all == .of(failed: [1], because: AggregatorError.drainTimedOut))
  }

  @Test(arguments: batchSizes)
  func withATimeOutOfZeroNothingIsWaitedFor(batchSize: Int) async throws {
    let rig = try Rig(.init(batchSize: batchSize, linger: .seconds(60), drainTimeout: .zero))
    try await rig.run { rig, run in
      try await rig.aggregator.send(contentsOf: 0..<(3 * batchSize))
      try await rig.handler.waitForCalls(count: 1)
      rig.aggregator.shutdown()
      try await run.value
    }
    #expect(rig.fates.all == .of(failed: Array(0..<(3 * batchSize)), because: AggregatorError.drainTimedOut))
  }

  @Test
  func itDoesNotTouchARunThatIsNotShutDown() async throws {
    let rig = try Rig(.init(batchSize: 1, drainTimeout: .seconds(5)))
    try await rig.run { rig in
      try await rig.aggregator.send(1)
      let call = try await rig.handler.call(0)
      rig.clock.advance(by: .seconds(100))
      await settle()
      #expect(!call.isCancelled)
      call.succeed()
      try await rig.aggregator.flush()
    }
    #expect(rig.fates.all == .of(handled: [1]))
  }
}
