import Batching
import BatchingTesting
import InMemoryLogging
import Testing

@Suite("Guarantee 12: handler timeout", .timeLimit(.minutes(5)))
struct Guarantee12HandlerTimeout {
  private func timeOut(_ rig: Rig, at offset: Duration = .seconds(5)) async throws {
    try await rig.clock.waitForSleeper(until: offset)
    rig.clock.advance(to: offset)
  }

  @Test(arguments: batchSizes)
  func anAttemptThatTakesTooLongIsCancelledAndFails(batchSize: Int) async throws {
    let rig = try Rig(.init(batchSize: batchSize, linger: .seconds(60), handlerTimeout: .seconds(5)))
    try await rig.run { rig in
      try await rig.aggregator.send(contentsOf: 0..<batchSize)
      let call = try await rig.handler.call(0)
      try await rig.clock.waitForSleeper(until: .seconds(5))
      rig.clock.advance(to: .milliseconds(4_999))
      await settle()
      #expect(!call.isCancelled)
      rig.clock.advance(to: .seconds(5))
      try await call.waitUntilCancelled()
      try await rig.aggregator.flush()
    }
    #expect(rig.handler.count == 1)
    #expect(rig.fates.all == .of(failed: Array(0..<batchSize), because: AggregatorError.handlerTimedOut))
    let error = rig.failures.inputs.first?.error as? AggregatorError
    #expect(error?.underlyingError is CancellationError)
    #expect(rig.failures.inputs.first?.attempts == 1)
  }

  @Test(arguments: batchSizes)
  func oneThatReturnsAllTheSameHasHandledItsMessages(batchSize: Int) async throws {
    let rig = try Rig(
      .init(batchSize: batchSize, linger: .seconds(60), handlerTimeout: .seconds(5)),
      handler: .gated(whenCancelled: .returning))
    try await rig.run { rig in
      try await rig.aggregator.send(contentsOf: 0..<batchSize)
      try await timeOut(rig)
      try await rig.aggregator.flush()
    }
    #expect(rig.fates.all == .of(handled: Array(0..<batchSize)))
  }

  @Test
  func oneThatIgnoresItKeepsItsSlotUntilItReturnsAndThatIsLogged() async throws {
    let rig = try Rig(.init(batchSize: 1, handlerTimeout: .seconds(5)), handler: .gated(whenCancelled: .stubborn))
    try await rig.run { rig in
      try await rig.aggregator.send(contentsOf: [711, 712])
      let call = try await rig.handler.call(0)
      let before = rig.logs.entries.count
      try await timeOut(rig)
      try await call.waitUntilCancelled()
      await settle()
      #expect(rig.handler.count == 1)
      #expect(rig.aggregator.statistics.inFlight == 1)
      call.succeed()
      try await rig.handler.call(1).succeed()
      try await rig.aggregator.flush()
      // It was handled in the end, so that there is nothing else to log.
      let logged = rig.logs.entries.dropFirst(before)
      #expect(logged.count == 1)
      #expect(!logged.contains { $0.says("711") }, "never the contents of a message")
    }
    #expect(rig.fates.all == .of(handled: [711, 712]))
  }

  @Test
  func aTimedOutAttemptIsTriedAgainWithATimeOfItsOwn() async throws {
    let rig = try Rig(
      .init(
        batchSize: 1, linger: .zero,
        retry: .exponential(maximumAttempts: 3, initial: .zero, maximum: .zero), handlerTimeout: .seconds(5)))
    try await rig.run { rig in
      try await rig.aggregator.send(1)
      try await timeOut(rig, at: .seconds(5))
      try await rig.handler.waitForCalls(count: 2)
      try await timeOut(rig, at: .seconds(10))
      try await rig.handler.waitForCalls(count: 3)
      try await rig.clock.waitForSleeper(until: .seconds(15))
      rig.clock.advance(to: .seconds(14))
      try await rig.handler.call(2).succeed()
      try await rig.aggregator.flush()
    }
    #expect(rig.handler.inputs.map(\.attempt) == [1, 2, 3])
    #expect(rig.fates.all == .of(handled: [1]))
  }

  @Test
  func oneThatIsDoneInTimeIsNotTouchedAndItsSleepEnds() async throws {
    let rig = try Rig(.init(batchSize: 1, linger: .zero, handlerTimeout: .seconds(5)))
    try await rig.run { rig in
      try await rig.aggregator.send(1)
      try await rig.clock.waitForSleeper(until: .seconds(5))
      try await rig.handler.call(0).succeed()
      try await rig.clock.waitForNoSleepers()
      // Half of the next call's time; all of the first's.
      rig.clock.advance(by: .seconds(3))
      try await rig.aggregator.send(2)
      try await rig.clock.waitForSleeper(until: .seconds(8))
      rig.clock.advance(by: .seconds(3))
      await settle()
      let call = try await rig.handler.call(1)
      #expect(!call.isCancelled)
      call.succeed()
      try await rig.aggregator.flush()
    }
    #expect(rig.fates.all == .of(handled: [1, 2]))
  }

  @Test
  func anErrorInTimeIsTheHandlersOwn() async throws {
    let rig = try Rig(.init(batchSize: 1, linger: .zero, handlerTimeout: .seconds(5)))
    try await rig.run { rig in
      try await rig.aggregator.send(1)
      try await rig.handler.call(0).fail(Failure(id: 1))
      try await rig.aggregator.flush()
    }
    #expect(rig.fates.all == .of(failed: [1], because: Failure(id: 1)))
  }

  @Test
  func eachSlotHasATimeOfItsOwn() async throws {
    let rig = try Rig(.init(batchSize: 1, linger: .zero, concurrency: 2, handlerTimeout: .seconds(5)))
    try await rig.run { rig in
      try await rig.aggregator.send(1)
      try await rig.clock.waitForSleeper(until: .seconds(5))
      rig.clock.advance(by: .seconds(3))
      try await rig.aggregator.send(2)
      try await rig.clock.waitForSleeper(until: .seconds(8))
      rig.clock.advance(to: .seconds(5))
      try await rig.handler.call(0).waitUntilCancelled()
      #expect(try await !rig.handler.call(1).isCancelled)
      try await rig.handler.call(1).succeed()
      try await rig.aggregator.flush()
    }
    let expected = [Int: [Fate]].of(handled: [2], failed: [1], because: AggregatorError.handlerTimedOut)
    #expect(rig.fates.all == expected)
  }
}
