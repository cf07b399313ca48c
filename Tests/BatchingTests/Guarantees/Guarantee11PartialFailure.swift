import Batching
import BatchingTesting
import Testing

@Suite("Guarantee 11: retry of a partial failure", .timeLimit(.minutes(5)))
struct Guarantee11PartialFailure {
  /// A rig whose first batch is 1 to `count`; it sleeps a second, or less, between attempts.
  private func rig(
    count: Int, maximumAttempts: Int = 3, handler: GatedHandler<Batch<Int>> = .gated()
  ) async throws -> Rig {
    let rig = try Rig(
      .init(
        batchSize: count, linger: .zero,
        retry: .exponential(maximumAttempts: maximumAttempts, initial: .seconds(1), maximum: .seconds(60))),
      handler: handler)
    try await rig.aggregator.send(contentsOf: 1...count)
    return rig
  }

  private func endBackOff(_ rig: Rig) async throws {
    try await rig.clock.waitForSleepers()
    rig.clock.advance(by: .seconds(60))
  }

  @Test
  func onlyTheNamedAreTriedAgain() async throws {
    try await rig(count: 4).run { rig in
      let first = try await rig.handler.call(0)
      first.fail(PartialBatchFailure([3: Failure(), 1: Failure()]))
      try await rig.clock.waitForSleepers()
      // The others are settled meanwhile.
      #expect(rig.aggregator.statistics.handled == 2)
      #expect(rig.aggregator.statistics.held == 2)
      #expect(rig.aggregator.statistics.inFlight == 0)
      #expect(rig.failures.count == 0)
      rig.clock.advance(by: .seconds(1))

      let second = try await rig.handler.call(1)
      #expect(second.input.messages == [2, 4])
      #expect(second.input.attempt == 2)
      #expect(second.input.trigger == first.input.trigger)
      #expect(second.input.sequenceNumber != first.input.sequenceNumber)
      #expect(rig.aggregator.statistics.inFlight == 2)
      second.fail(Failure())
      try await endBackOff(rig)

      // The same list again, so the same number.
      let third = try await rig.handler.call(2)
      #expect(third.input.messages == [2, 4])
      #expect(third.input.attempt == 3)
      #expect(third.input.sequenceNumber == second.input.sequenceNumber)
      third.succeed()
      try await rig.aggregator.flush()
      #expect(rig.fates.all == .of(handled: [1, 2, 3, 4]))
      #expect(rig.aggregator.statistics.retries == 2)
    }
  }

  @Test(arguments: batchSizes)
  func ofAllTheListStaysTheSame(count: Int) async throws {
    try await rig(count: count).run { rig in
      let first = try await rig.handler.call(0)
      first.fail(PartialBatchFailure(Dictionary(uniqueKeysWithValues: (0..<count).map { ($0, Failure(id: $0)) })))
      try await endBackOff(rig)
      let second = try await rig.handler.call(1)
      #expect(second.input.messages == first.input.messages)
      #expect(second.input.attempt == 2)
      #expect(second.input.sequenceNumber == first.input.sequenceNumber)
    }
  }

  @Test(arguments: batchSizes)
  func ofNoneAllAreHandled(count: Int) async throws {
    try await rig(count: count).run { rig in
      try await rig.handler.call(0).fail(PartialBatchFailure([:]))
      try await rig.aggregator.flush()
      #expect(rig.handler.count == 1)
      #expect(rig.fates.all == .of(handled: Array(1...count)))
    }
  }

  @Test
  func refusedMessagesAreGivenUpAtOnceAndTheRestIsTriedAgain() async throws {
    try await rig(count: 5).run { rig in
      let refused = Advice.refusal
      try await rig.handler.call(0).fail(
        PartialBatchFailure([0: refused, 1: Failure(), 2: Advice.outage, 4: refused]))
      let failure = try await rig.failures.call(0).input
      #expect(failure.messages == [1, 5])
      #expect(failure.items.map { $0.error as? Advice } == [refused, refused])
      #expect(failure.error as? Advice == refused)
      #expect(failure.attempts == 1)
      try await endBackOff(rig)
      let second = try await rig.handler.call(1)
      #expect(second.input.messages == [2, 3])
      second.succeed()
      try await rig.aggregator.flush()
      #expect(rig.fates.all == .of(handled: [2, 3, 4], failed: [1, 5], because: refused))
    }
  }

  @Test
  func whenAllNamedAreRefusedNothingIsTriedAgain() async throws {
    try await rig(count: 3).run { rig in
      try await rig.handler.call(0).fail(PartialBatchFailure([2: Advice.refusal]))
      try await rig.aggregator.flush()
      #expect(rig.handler.count == 1)
      #expect(rig.fates.all == .of(handled: [1, 2], failed: [3], because: Advice.refusal))
    }
  }

  @Test
  func outOfAttemptsEachFailsWithItsOwnError() async throws {
    try await rig(count: 4, maximumAttempts: 2).run { rig in
      try await rig.handler.call(0).fail(
        PartialBatchFailure([0: Failure(id: 1), 1: Failure(id: 2), 3: Failure(id: 4)]))
      try await endBackOff(rig)
      // Message 2 is at offset 1 of [1, 2, 4], and 4 at offset 2.
      try await rig.handler.call(1).fail(PartialBatchFailure([2: Failure(id: 40), 1: Failure(id: 20)]))
      try await rig.aggregator.flush()
      let failure = try await rig.failures.call(0).input
      #expect(rig.failures.count == 1)
      #expect(failure.messages == [2, 4])
      #expect(failure.items.map { $0.error as? Failure } == [Failure(id: 20), Failure(id: 40)])
      #expect(failure.error as? Failure == Failure(id: 20), "the first item's")
      #expect(failure.attempts == 2)
      #expect(rig.fates.handled.sorted() == [1, 3])
    }
  }

  @Test
  func theLongestRetryAfterOfItsMessagesIsObeyed() async throws {
    try await rig(count: 4).run { rig in
      func advice(_ seconds: Int?) -> Advice {
        Advice(isRetryable: true, retryAfter: seconds.map { .seconds($0) })
      }
      try await rig.handler.call(0).fail(
        PartialBatchFailure([0: advice(3), 1: advice(9), 2: advice(4), 3: advice(nil)]))
      try await rig.clock.waitForSleepers()
      #expect(rig.clock.deadlines == [.seconds(9)], "neither the first nor the last")
      rig.clock.advance(by: .seconds(9))
      try await rig.handler.call(1).succeed()
      try await rig.aggregator.flush()
    }
  }

  @Test(arguments: batchSizes, [-1, 0])
  func anOffsetOutsideTheBatchFailsTheWholeAttempt(count: Int, beyond: Int) async throws {
    let wrong = beyond < 0 ? -1 : count
    try await rig(count: count, maximumAttempts: 2).run { rig in
      let first = try await rig.handler.call(0)
      first.fail(PartialBatchFailure([0: Advice.refusal, wrong: Failure()]))
      try await endBackOff(rig)
      #expect(rig.aggregator.statistics.handled == 0)
      #expect(rig.aggregator.statistics.failed == 0)
      let second = try await rig.handler.call(1)
      #expect(second.input.messages == first.input.messages)
      #expect(second.input.sequenceNumber == first.input.sequenceNumber)
      second.fail(PartialBatchFailure([wrong: Failure()]))
      try await rig.aggregator.flush()
      #expect(rig.aggregator.statistics.failed == count)
      #expect(rig.failures.inputs.flatMap(\.messages) == Array(1...count))
    }
  }
}
