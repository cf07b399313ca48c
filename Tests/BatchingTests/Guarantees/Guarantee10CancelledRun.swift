import Batching
import BatchingTesting
import Testing

@Suite("Guarantee 10: a cancelled run", .timeLimit(.minutes(5)))
struct Guarantee10CancelledRun {
  @Test(arguments: batchSizes, slotCounts)
  func handlersAreCancelledAndTheRestGoesToOnFailure(batchSize: Int, concurrency: Int) async throws {
    let rig = try Rig(
      .init(batchSize: batchSize, linger: .seconds(60), concurrency: concurrency, retry: .exponential()))
    let count = (concurrency + 1) * batchSize + 1
    try await rig.run { rig, run in
      try await rig.aggregator.send(contentsOf: 0..<count)
      try await rig.handler.waitForCalls(count: concurrency)
      run.cancel()
      #expect(await run.error is CancellationError)
      #expect(rig.handler.running == 0)
    }
    #expect(rig.handler.count == concurrency, "no retry, and no batch is begun")
    #expect(rig.fates.all == .of(failed: Array(0..<count), because: CancellationError()))
    for failure in rig.failures.inputs {
      #expect(failure.attempts == (failure.messages[0] < concurrency * batchSize ? 1 : 0))
    }
  }

  @Test
  func whatTheHandlerThrewIsTheError() async throws {
    let rig = try Rig(
      .init(batchSize: 1, retry: .exponential(initial: .zero, maximum: .zero)),
      handler: .gated(whenCancelled: .stubborn))
    try await rig.run { rig, run in
      try await rig.aggregator.send(1)
      let call = try await rig.handler.call(0)
      run.cancel()
      try await call.waitUntilCancelled()
      await settle()
      #expect(!run.hasEnded, "it waits for the handler")
      call.fail(Failure(id: 7))
      _ = await run.result
    }
    #expect(rig.handler.count == 1)
    #expect(rig.fates.all == .of(failed: [1], because: Failure(id: 7)))
  }

  @Test
  func aHandlerThatReturnsAllTheSameHasHandledItsMessages() async throws {
    let rig = try Rig(.init(batchSize: 2, linger: .seconds(60)), handler: .gated(whenCancelled: .returning))
    try await rig.run { rig, run in
      try await rig.aggregator.send(contentsOf: 1...3)
      try await rig.handler.waitForCalls(count: 1)
      run.cancel()
      #expect(await run.error is CancellationError)
    }
    #expect(rig.fates.all == .of(handled: [1, 2], failed: [3], because: CancellationError()))
  }

  @Test
  func aBackOffEndsWithoutAnotherAttempt() async throws {
    let rig = try Rig(.init(batchSize: 1, linger: .zero, retry: .exponential()))
    try await rig.run { rig, run in
      try await rig.aggregator.send(1)
      try await rig.handler.call(0).fail(Failure())
      try await rig.clock.waitForSleepers()
      run.cancel()
      #expect(await run.error is CancellationError)
    }
    #expect(rig.handler.count == 1)
    #expect(rig.aggregator.statistics.failed == 1)
    #expect(rig.failures.inputs.map(\.attempts) == [1])
  }

  @Test
  func afterItEverySendIsRefused() async throws {
    let rig = try Rig(.init(batchSize: 1, capacity: 1))
    try await rig.run { rig, run in
      try await rig.aggregator.send(1)
      let waiting = Begun { try await rig.aggregator.send(2) }
      try await eventually("the sender waits") { rig.aggregator.statistics.waitingSenders == 1 }
      run.cancel()
      #expect(await waiting.error as? AggregatorError == .closed)
      _ = await run.result
      await #expect(throws: AggregatorError.closed) { try await rig.aggregator.send(3) }
      #expect(rig.aggregator.trySend(3) == .closed)
    }
    #expect(rig.fates.all == .of(failed: [1], because: CancellationError()))
  }

  @Test(arguments: batchSizes)
  func aRunThatIsCancelledBeforeItBeginsGivesEverythingUp(batchSize: Int) async throws {
    let rig = try Rig(.init(batchSize: batchSize), handler: .open())
    try await rig.aggregator.send(contentsOf: 0..<(2 * batchSize + 1))
    let gate = Watched(false)
    let run = Begun {
      await gate.waitIgnoringCancellation { $0 }
      try await rig.aggregator.run()
    }
    run.cancel()
    gate.change { $0 = true }
    #expect(await run.error is CancellationError)
    #expect(rig.handler.count == 0)
    #expect(rig.fates.all == .of(failed: Array(0..<(2 * batchSize + 1)), because: CancellationError()))
    #expect(rig.fates.cancelledFailureCalls == 0)
    #expect(rig.aggregator.statistics.held == 0)
  }

  @Test
  func aDrainThatIsCancelledEndsLikeACancelledRun() async throws {
    let rig = try Rig(.init(batchSize: 1))
    try await rig.run { rig, run in
      try await rig.aggregator.send(contentsOf: 1...3)
      try await rig.handler.waitForCalls(count: 1)
      rig.aggregator.shutdown()
      await settle()
      #expect(!run.hasEnded)
      run.cancel()
      #expect(await run.error is CancellationError)
    }
    #expect(rig.fates.all == .of(failed: [1, 2, 3], because: CancellationError()))
  }

  @Test
  func theDropsAreSettledToo() async throws {
    let rig = try Rig(.init(batchSize: 1, capacity: 2, overflow: .dropOldest), failures: .gated())
    try await rig.run { rig, run in
      try await rig.aggregator.send(1)
      try await rig.handler.waitForCalls(count: 1)
      try await rig.aggregator.send(contentsOf: [2, 3])
      run.cancel()
      await settle()
      #expect(!run.hasEnded, "it waits for onFailure")
      rig.failures.open()
      _ = await run.result
    }
    #expect(rig.fates.all == .of(dropped: [2], failed: [1, 3], because: CancellationError()))
  }
}
