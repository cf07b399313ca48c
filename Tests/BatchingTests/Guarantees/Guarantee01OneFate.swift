import Batching
import BatchingTesting
import InMemoryLogging
import Logging
import Testing

@Suite("Guarantee 1: one fate", .timeLimit(.minutes(5)))
struct Guarantee01OneFate {
  @Test(arguments: batchSizes, slotCounts)
  func eachMessageIsHandledOnce(batchSize: Int, concurrency: Int) async throws {
    let rig = try Rig(.init(batchSize: batchSize, concurrency: concurrency), handler: .open())
    try await rig.run { rig in
      for message in 1...20 { try await rig.aggregator.send(message) }
      try await rig.aggregator.send(contentsOf: 21...40)
    }
    #expect(rig.fates.all == .of(handled: Array(1...40)))
    #expect(rig.aggregator.statistics.handled == 40)
  }

  @Test(arguments: batchSizes, slotCounts)
  func aMessageWhoseHandlerThrowsIsGivenToOnFailureWithThatError(batchSize: Int, concurrency: Int) async throws {
    let rig = try Rig(
      .init(batchSize: batchSize, concurrency: concurrency),
      handler: .open { batch in throw Failure(id: batch.sequenceNumber) })
    try await rig.run { rig in try await rig.aggregator.send(contentsOf: 1...20) }
    #expect(rig.aggregator.statistics.failed == 20)
    // A batch is given up as a whole, under its own number and with its own error.
    let given = rig.failures.inputs.sorted { $0.messages[0] < $1.messages[0] }
    let batches = rig.handler.inputs.sorted { $0[0] < $1[0] }
    #expect(given.map(\.messages) == batches.map(\.messages))
    #expect(given.map(\.sequenceNumber) == batches.map(\.sequenceNumber))
    #expect(given.map(\.attempts) == batches.map { _ in 1 })
    #expect(given.map { $0.error as? Failure } == batches.map { Failure(id: $0.sequenceNumber) })
    #expect(
      given.map { $0.items.map { $0.error as? Failure } }
        == batches.map { batch in batch.map { _ in Failure(id: batch.sequenceNumber) } })
  }

  @Test(arguments: batchSizes)
  func ofAPartialFailureTheNamedFailAndTheOthersAreHandled(batchSize: Int) async throws {
    let rig = try Rig(
      .init(batchSize: batchSize), handler: .open { batch in throw PartialBatchFailure([0: Failure(id: batch[0])]) })
    try await rig.run { rig in try await rig.aggregator.send(contentsOf: 1...21) }
    let firsts = rig.handler.batches.map { $0[0] }
    var expected = [Int: [Fate]].of(handled: (1...21).filter { !firsts.contains($0) })
    for message in firsts { expected[message] = [.failed(Failure(id: message))] }
    #expect(rig.fates.all == expected)
  }

  @Test
  func aFailedMessageIsHeldUntilOnFailureHasReturned() async throws {
    let rig = try Rig(.init(batchSize: 2), handler: .open { _ in throw Failure() }, failures: .gated())
    try await rig.run { rig in
      try await rig.aggregator.send(contentsOf: 1...2)
      let call = try await rig.failures.call(0)
      let expected = AggregatorStatistics.having {
        $0.accepted = 2
        $0.held = 2
        $0.batches[.size] = 1
      }
      #expect(rig.aggregator.statistics == expected)
      call.succeed()
      try await rig.aggregator.flush()
      #expect(rig.aggregator.statistics.failed == 2)
      #expect(rig.aggregator.statistics.held == 0)
    }
  }

  @Test
  func withoutOnFailureAFailedMessageIsSettledToo() async throws {
    let aggregator = try Aggregator<Int>(configuration: .init(batchSize: 2)) { _ in throw Failure() }
    try await whileRunning(aggregator) { _ in
      try await aggregator.send(contentsOf: 1...4)
      try await aggregator.flush()
      let expected = AggregatorStatistics.having {
        $0.accepted = 4
        $0.failed = 4
        $0.batches[.size] = 2
      }
      #expect(aggregator.statistics == expected)
    }
  }

  @Test(arguments: batchSizes)
  func aMessageThatIsPushedOutIsDropped(batchSize: Int) async throws {
    let rig = try Rig(.init(batchSize: batchSize, linger: .seconds(60), capacity: 2 * batchSize, overflow: .dropOldest))
    let size = batchSize
    try await rig.run { rig in
      try await rig.aggregator.send(contentsOf: 1...size)
      try await rig.handler.waitForCalls(count: 1)
      try await rig.aggregator.send(contentsOf: (size + 1)...(3 * size))
    }
    let dropped = Array((size + 1)...(2 * size))
    let others = Array(1...size) + Array((2 * size + 1)...(3 * size))
    #expect(rig.fates.all == .of(handled: others, dropped: dropped))
    #expect(rig.failures.inputs.flatMap(\.messages) == dropped)
    #expect(rig.failures.inputs.allSatisfy { $0.attempts == 0 && ($0.error as? AggregatorError) == .dropped })
  }

  @Test(arguments: batchSizes, slotCounts)
  func whatIsHeldAtTheShutdownIsHandled(batchSize: Int, concurrency: Int) async throws {
    let rig = try Rig(
      .init(batchSize: batchSize, linger: .seconds(60), concurrency: concurrency, capacity: 100))
    try await rig.run { rig in
      try await rig.aggregator.send(contentsOf: 1...50)
      rig.aggregator.shutdown()
    }
    #expect(rig.fates.all == .of(handled: Array(1...50)))
  }

  @Test(arguments: batchSizes)
  func whatIsHeldByACancelledRunFails(batchSize: Int) async throws {
    let rig = try Rig(.init(batchSize: batchSize, linger: .seconds(60)))
    try await rig.run { rig, run in
      // One batch in the handler, one that is full, one that is open (but at batch size 1).
      try await rig.aggregator.send(contentsOf: 1...(3 * batchSize - 1))
      try await rig.handler.waitForCalls(count: 1)
      run.cancel()
      _ = await run.result
    }
    #expect(rig.handler.count == 1)
    #expect(rig.fates.all == .of(failed: Array(1...(3 * batchSize - 1)), because: CancellationError()))
  }

  @Test(arguments: batchSizes)
  func whatADrainThatTimesOutLeavesFails(batchSize: Int) async throws {
    let rig = try Rig(.init(batchSize: batchSize, linger: .seconds(60), drainTimeout: .seconds(5)))
    try await rig.run { rig, run in
      try await rig.aggregator.send(contentsOf: 1...(3 * batchSize - 1))
      try await rig.handler.waitForCalls(count: 1)
      rig.aggregator.shutdown()
      try await rig.clock.waitForSleeper(until: .seconds(5))
      rig.clock.advance(by: .seconds(5))
      _ = await run.result
    }
    #expect(rig.fates.all == .of(failed: Array(1...(3 * batchSize - 1)), because: AggregatorError.drainTimedOut))
  }

  @Test
  func onFailureIsNotCancelledWithTheRun() async throws {
    let rig = try Rig(.init(batchSize: 1), handler: .open { _ in throw Failure() }, failures: .gated())
    try await rig.run { rig, run in
      try await rig.aggregator.send(contentsOf: 1...3)
      let call = try await rig.failures.call(0)
      run.cancel()
      await settle()
      // Saving a dead letter goes on: neither this call nor a later one finds itself in a cancelled task.
      #expect(!call.isCancelled)
      #expect(!run.hasEnded)
      rig.failures.open()
      _ = await run.result
    }
    #expect(rig.failures.inputs.flatMap(\.messages).sorted() == [1, 2, 3])
    #expect(rig.fates.cancelledFailureCalls == 0)
  }

  @Test
  func aHandlerThatFailedHalfWaySeesItsMessagesAgain() async throws {
    let rig = try Rig(
      .init(batchSize: 3, retry: .exponential(maximumAttempts: 2, initial: .zero, maximum: .zero)),
      handler: .open { batch in if batch.attempt == 1 { throw Failure() } })
    try await rig.run { rig in
      try await rig.aggregator.send(contentsOf: 1...3)
      try await rig.handler.waitForCalls(count: 2)
    }
    #expect(rig.handler.batches == [[1, 2, 3], [1, 2, 3]])
    #expect(rig.fates.all == .of(handled: [1, 2, 3]))
  }

  @Test
  func anAggregatorThatNeverRanLogsHowManyItHeld() async throws {
    let logs = InMemoryLogHandler()
    try await holdThreeAndThrowAway(logger: Logger(label: "test") { _ in logs })
    #expect(logs.entries.count == 1)
    let entry = try #require(logs.entries.first)
    #expect(entry.says("3"))
  }

  private func holdThreeAndThrowAway(logger: Logger) async throws {
    let aggregator = try Aggregator<Int>(logger: logger) { _ in }
    try await aggregator.send(contentsOf: [70, 80, 90])
  }
}
