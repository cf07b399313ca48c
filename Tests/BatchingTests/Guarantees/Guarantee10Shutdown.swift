import Batching
import BatchingTesting
import Testing

@Suite("Guarantee 10: shutdown", .timeLimit(.minutes(5)))
struct Guarantee10Shutdown {
  @Test(arguments: batchSizes, [OverflowPolicy.suspend, .reject, .dropOldest])
  func afterItEverySendIsRefused(batchSize: Int, overflow: OverflowPolicy) async throws {
    let rig = try Rig(.init(batchSize: batchSize, capacity: batchSize, overflow: overflow))
    try await rig.run { rig, run in
      try await rig.aggregator.send(contentsOf: 1...batchSize)
      rig.aggregator.shutdown()
      func expectClosed(rejected: Int) async {
        await #expect(throws: AggregatorError.closed) { try await rig.aggregator.send(100) }
        let error = await #expect(throws: AggregatorError.self) { try await rig.aggregator.send(contentsOf: [100]) }
        #expect(error == .closed)
        #expect(error?.acceptedCount == 0)
        #expect(rig.aggregator.trySend(100) == .closed)
        #expect(rig.aggregator.statistics.rejected == rejected)
      }
      // While it drains, and after the end.
      await expectClosed(rejected: 3)
      rig.handler.open()
      try await run.value
      await expectClosed(rejected: 6)
    }
    #expect(rig.fates.all == .of(handled: Array(1...batchSize)))
  }

  @Test(arguments: batchSizes)
  func sendersThatWaitAreRefused(batchSize: Int) async throws {
    let rig = try Rig(.init(batchSize: batchSize, linger: .zero, capacity: batchSize))
    try await rig.run { rig, run in
      try await rig.aggregator.send(contentsOf: 1...batchSize)
      let sends = [Begun { try await rig.aggregator.send(100) }, Begun { try await rig.aggregator.send(101) }]
      try await eventually("both wait") { rig.aggregator.statistics.waitingSenders == 2 }
      rig.aggregator.shutdown()
      for send in sends { #expect(await send.error as? AggregatorError == .closed) }
      #expect(rig.aggregator.statistics.waitingSenders == 0)
      #expect(rig.aggregator.statistics.rejected == 2)
      // They were refused at once, not when the drain was over.
      #expect(!run.hasEnded)
    }
    #expect(rig.fates.all == .of(handled: Array(1...batchSize)))
  }

  @Test(arguments: batchSizes)
  func aSequenceThatWaitsIsToldHowManyWereAccepted(batchSize: Int) async throws {
    let rig = try Rig(.init(batchSize: batchSize, linger: .zero, capacity: batchSize))
    try await rig.run { rig in
      let send = Begun { try await rig.aggregator.send(contentsOf: 0..<100) }
      try await eventually("it waits") { rig.aggregator.statistics.waitingSenders == 1 }
      rig.aggregator.shutdown()
      let error = await send.error as? AggregatorError
      #expect(error == .closed)
      #expect(error?.acceptedCount == batchSize)
    }
    #expect(rig.fates.all == .of(handled: Array(0..<batchSize)))
  }

  @Test(arguments: batchSizes, slotCounts)
  func allThatWasAcceptedIsHandledWithoutWaitingForLinger(batchSize: Int, concurrency: Int) async throws {
    let rig = try Rig(
      .init(batchSize: batchSize, linger: .seconds(3600), concurrency: concurrency, capacity: 100),
      handler: .open())
    try await rig.run { rig, run in
      try await rig.aggregator.send(contentsOf: 0..<22)
      rig.aggregator.shutdown()
      try await run.value
      #expect(rig.clock.elapsed == .zero)
    }
    #expect(rig.fates.all == .of(handled: Array(0..<22)))
    let batches = rig.aggregator.statistics.batches
    #expect(batches[.size] == 22 / batchSize)
    #expect(batches[.shutdown] == (22 % batchSize == 0 ? 0 : 1))
  }

  @Test(arguments: batchSizes)
  func runReturnsWhenTheLastHandlerHasReturned(batchSize: Int) async throws {
    let rig = try Rig(.init(batchSize: batchSize, linger: .seconds(60)))
    try await rig.run { rig, run in
      try await rig.aggregator.send(contentsOf: 0..<(2 * batchSize))
      rig.aggregator.shutdown()
      for number in 0..<2 {
        let call = try await rig.handler.call(number)
        await settle()
        #expect(!run.hasEnded)
        #expect(!call.isCancelled)
        call.succeed()
      }
      try await run.value
    }
  }

  @Test
  func runReturnsWhenTheLastOnFailureHasReturned() async throws {
    let rig = try Rig(.init(batchSize: 2), handler: .open { _ in throw Failure() }, failures: .gated())
    try await rig.run { rig, run in
      try await rig.aggregator.send(1)
      rig.aggregator.shutdown()
      let call = try await rig.failures.call(0)
      await settle()
      #expect(!run.hasEnded)
      call.succeed()
      try await run.value
    }
  }

  @Test
  func itMayBeCalledTwiceAndFromAnywhere() async throws {
    let aggregator = Watched<Aggregator<Int>?>(nil)
    defer { aggregator.change { $0 = nil } }
    let rig = try Rig(.init(batchSize: 1), handler: .open { _ in aggregator.current?.shutdown() })
    aggregator.change { $0 = rig.aggregator }
    try await rig.run { rig, run in
      try await rig.aggregator.send(1)
      try await run.value
      try await onThread { rig.aggregator.shutdown() }
      rig.aggregator.shutdown()
    }
    #expect(rig.fates.all == .of(handled: [1]))
  }

  @Test
  func theDrainGoesOnRetrying() async throws {
    let rig = try Rig(
      .init(
        batchSize: 1, linger: .zero,
        retry: .exponential(maximumAttempts: 2, initial: .seconds(1), maximum: .seconds(1))))
    try await rig.run { rig, run in
      try await rig.aggregator.send(1)
      try await rig.handler.call(0).fail(Failure())
      try await rig.clock.waitForSleepers()
      rig.aggregator.shutdown()
      await settle()
      #expect(!run.hasEnded)
      rig.clock.advance(by: .seconds(1))
      try await rig.handler.call(1).succeed()
      try await run.value
    }
    #expect(rig.fates.all == .of(handled: [1]))
  }

  // MARK: - Before run()

  @Test(arguments: batchSizes)
  func beforeRunItRefusesSendsAndRunSettlesWhatIsHeld(batchSize: Int) async throws {
    let rig = try Rig(.init(batchSize: batchSize, linger: .seconds(60)), handler: .open())
    try await rig.aggregator.send(contentsOf: 0..<(batchSize + 1))
    rig.aggregator.shutdown()
    await #expect(throws: AggregatorError.closed) { try await rig.aggregator.send(100) }
    #expect(rig.aggregator.trySend(100) == .closed)
    #expect(rig.aggregator.statistics.held == batchSize + 1)
    try await rig.run { _, run in try await run.value }
    #expect(rig.fates.all == .of(handled: Array(0..<(batchSize + 1))))
  }

  @Test
  func beforeRunItRefusesThoseThatWait() async throws {
    let rig = try Rig(.init(batchSize: 2, capacity: 2), handler: .open())
    try await rig.aggregator.send(contentsOf: 1...2)
    let send = Begun { try await rig.aggregator.send(3) }
    try await eventually("it waits") { rig.aggregator.statistics.waitingSenders == 1 }
    rig.aggregator.shutdown()
    #expect(await send.error as? AggregatorError == .closed)
    try await rig.run { _ in }
    #expect(rig.fates.all == .of(handled: [1, 2]))
  }

  @Test
  func beforeRunWithNothingHeldRunReturnsAtOnce() async throws {
    let rig = try Rig(.init(batchSize: 2))
    rig.aggregator.shutdown()
    try await rig.run { _, run in try await run.value }
    #expect(rig.handler.count == 0)
  }

  @Test(arguments: batchSizes)
  func sendsBeforeRunAreAcceptedUpToCapacity(batchSize: Int) async throws {
    let rig = try Rig(.init(batchSize: batchSize, capacity: 2 * batchSize), handler: .open())
    try await rig.aggregator.send(contentsOf: 0..<(2 * batchSize))
    #expect(rig.aggregator.trySend(100) == .full)
    let send = Begun { try await rig.aggregator.send(100) }
    try await eventually("it waits") { rig.aggregator.statistics.waitingSenders == 1 }
    #expect(rig.handler.count == 0)
    try await rig.run { _ in try await send.value }
    #expect(rig.fates.handled == Array(0..<(2 * batchSize)) + [100])
  }

  @Test(arguments: batchSizes)
  func sendsBeforeRunObeyReject(batchSize: Int) async throws {
    let rig = try Rig(.init(batchSize: batchSize, capacity: batchSize, overflow: .reject), handler: .open())
    try await rig.aggregator.send(contentsOf: 0..<batchSize)
    await #expect(throws: AggregatorError.full) { try await rig.aggregator.send(100) }
    try await rig.run { _ in }
    #expect(rig.fates.handled == Array(0..<batchSize))
  }

  @Test(arguments: batchSizes)
  func sendsBeforeRunObeyDropOldest(batchSize: Int) async throws {
    let rig = try Rig(.init(batchSize: batchSize, capacity: batchSize, overflow: .dropOldest), handler: .open())
    try await rig.aggregator.send(contentsOf: 0..<batchSize)
    try await rig.aggregator.send(100)
    #expect(rig.aggregator.statistics.dropped == 1)
    try await rig.run { _ in }
    #expect(rig.fates.all == .of(handled: Array(1..<batchSize) + [100], dropped: [0]))
  }

  // MARK: - A second run()

  @Test
  func aSecondRunThrowsAtOnceAndDisturbsNothing() async throws {
    let rig = try Rig(.init(batchSize: 1))
    try await rig.run { rig, run in
      try await rig.aggregator.send(1)
      try await rig.handler.waitForCalls(count: 1)
      await #expect(throws: AggregatorError.alreadyRun) { try await rig.aggregator.run() }
      #expect(!run.hasEnded)
      #expect(try await !rig.handler.call(0).isCancelled)
      #expect(rig.aggregator.trySend(2) == .accepted)
      rig.handler.open()
      try await rig.aggregator.flush()
    }
    await #expect(throws: AggregatorError.alreadyRun) { try await rig.aggregator.run() }
    #expect(rig.fates.all == .of(handled: [1, 2]))
  }
}
