import Batching
import BatchingTesting
import Testing

@Suite("Guarantee 11: isolation of poison messages", .timeLimit(.minutes(5)))
struct Guarantee11Isolation {
  /// A rig whose first batch is 1 to `count`, without back-off.
  private func rig(count: Int, maximumAttempts: Int = 1, handler: GatedHandler<Batch<Int>>) async throws -> Rig {
    let rig = try Rig(
      .init(
        batchSize: count, linger: .zero,
        retry: .exponential(
          maximumAttempts: maximumAttempts, initial: .zero, maximum: .zero, isolatesPoisonMessages: true)),
      handler: handler)
    try await rig.aggregator.send(contentsOf: 1...count)
    return rig
  }

  @Test(arguments: 1...5, [1, 2])
  func whateverIsPoisonFailsAndTheOthersAreHandled(count: Int, maximumAttempts: Int) async throws {
    for bits in 0..<(1 << count) {
      let poison = Set((1...count).filter { bits >> ($0 - 1) & 1 == 1 })
      let rig = try await rig(
        count: count, maximumAttempts: maximumAttempts,
        handler: .open { batch in
          if let message = batch.first(where: poison.contains) { throw Failure(id: message) }
        })
      try await rig.run { rig in try await rig.aggregator.flush() }
      var expected = [Int: [Fate]].of(handled: (1...count).filter { !poison.contains($0) })
      for message in poison { expected[message] = [.failed(Failure(id: message))] }
      #expect(rig.fates.all == expected, "poison: \(poison)")
      #expect(rig.failures.inputs.allSatisfy { $0.items.count == 1 }, "each stands alone")
      let bound = poison.isEmpty ? 1 : maximumAttempts + 2 * count - 2
      #expect(rig.handler.count <= bound, "poison: \(poison)")
      #expect(rig.aggregator.statistics.retries == rig.handler.count - 1)
    }
  }

  @Test(arguments: [1, 2, 3, 7, 8])
  func whenAllArePoisonTheBoundOnCallsIsReachedAndNotPassed(count: Int) async throws {
    let rig = try await rig(count: count, maximumAttempts: 3, handler: .open { _ in throw Failure() })
    try await rig.run { rig in try await rig.aggregator.flush() }
    #expect(rig.handler.count == 3 + 2 * count - 2)
    #expect(rig.fates.all == .of(failed: Array(1...count)))
  }

  @Test
  func partsAreHalvesWithNumbersOfTheirOwn() async throws {
    let rig = try await rig(
      count: 4, maximumAttempts: 2, handler: .open { batch in if batch.contains(3) { throw Failure() } })
    try await rig.run { rig in try await rig.aggregator.flush() }
    let calls = rig.handler.inputs
    #expect(calls.prefix(2).map(\.messages) == [[1, 2, 3, 4], [1, 2, 3, 4]])
    #expect(calls.prefix(2).map(\.attempt) == [1, 2])
    let parts = calls.dropFirst(2).sorted { ($0.count, $1[0]) > ($1.count, $0[0]) }
    #expect(parts.map(\.messages) == [[1, 2], [3, 4], [3], [4]])
    #expect(parts.map(\.attempt) == [3, 3, 4, 4])
    #expect(parts.allSatisfy { $0.trigger == .split })
    #expect(Set(calls.map(\.sequenceNumber)).count == 5, "one for each list")
    let failure = try #require(rig.failures.inputs.first)
    #expect(failure.messages == [3])
    #expect(failure.attempts == 4)
    #expect(failure.sequenceNumber == parts[2].sequenceNumber)
  }

  @Test
  func withoutItTheWholeBatchFails() async throws {
    let rig = try Rig(
      .init(batchSize: 2, retry: .exponential(maximumAttempts: 2, initial: .zero, maximum: .zero)),
      handler: .open { _ in throw Failure() })
    try await rig.run { rig in
      try await rig.aggregator.send(contentsOf: 1...2)
      try await rig.aggregator.flush()
    }
    #expect(rig.handler.batches == [[1, 2], [1, 2]])
  }

  @Test(arguments: [1, 3])
  func anOutageIsNeverSplit(maximumAttempts: Int) async throws {
    let rig = try await rig(count: 4, maximumAttempts: maximumAttempts, handler: .open { _ in throw Advice.outage })
    try await rig.run { rig in try await rig.aggregator.flush() }
    #expect(rig.handler.batches == Array(repeating: [1, 2, 3, 4], count: maximumAttempts))
    #expect(rig.fates.all == .of(failed: [1, 2, 3, 4], because: Advice.outage))
  }

  @Test
  func aRefusalIsSplitAtOnce() async throws {
    let rig = try await rig(
      count: 2, maximumAttempts: 5, handler: .open { batch in if batch.contains(1) { throw Advice.refusal } })
    try await rig.run { rig in try await rig.aggregator.flush() }
    #expect(rig.handler.inputs.map(\.attempt) == [1, 2, 2])
    #expect(rig.handler.batches[0] == [1, 2])
    #expect(Set(rig.handler.batches.dropFirst()) == [[1], [2]])
    #expect(rig.fates.all == .of(handled: [2], failed: [1], because: Advice.refusal))
  }

  @Test
  func aPartHasOneAttemptThoughMoreWereLeft() async throws {
    let rig = try await rig(
      count: 4, maximumAttempts: 5,
      handler: .open { batch in
        if batch.count == 4 { throw Advice.refusal }
        if batch.contains(1) { throw Failure() }
        if let offset = batch.firstIndex(of: 4) { throw PartialBatchFailure([offset: Failure()]) }
      })
    try await rig.run { rig in try await rig.aggregator.flush() }
    #expect(Set(rig.handler.batches) == [[1, 2, 3, 4], [1, 2], [3, 4], [1], [2]])
    #expect(rig.handler.count == 5)
    #expect(rig.fates.all == .of(handled: [2, 3], failed: [1, 4]))
  }

  @Test
  func aPartThatMeetsAnOutageIsNeitherSplitNorTriedAgain() async throws {
    let rig = try await rig(
      count: 4, maximumAttempts: 1,
      handler: .open { batch in
        if batch.count == 4 { throw Failure() }
        if batch.contains(1) { throw Advice.outage }
      })
    try await rig.run { rig in try await rig.aggregator.flush() }
    #expect(Set(rig.handler.batches) == [[1, 2, 3, 4], [1, 2], [3, 4]])
    #expect(rig.handler.count == 3)
    #expect(rig.fates.all == .of(handled: [3, 4], failed: [1, 2], because: Advice.outage))
  }

  @Test
  func aPartThatNamesItsPoisonIsNotSplit() async throws {
    let rig = try await rig(
      count: 4, maximumAttempts: 1,
      handler: .open { batch in
        if batch.count == 4 { throw Failure() }
        if let offset = batch.firstIndex(of: 2) { throw PartialBatchFailure([offset: Failure(id: 2)]) }
      })
    try await rig.run { rig in try await rig.aggregator.flush() }
    #expect(rig.handler.count == 3)
    #expect(rig.fates.all == .of(handled: [1, 3, 4], failed: [2], because: Failure(id: 2)))
  }

  @Test
  func whatIsLeftOfAPartialFailureIsSplitToo() async throws {
    let rig = try await rig(
      count: 4, maximumAttempts: 2,
      handler: .open { batch in
        if batch.attempt == 1 { throw PartialBatchFailure([0: Failure(), 1: Failure()]) }
        if batch.contains(1) { throw Failure() }
      })
    try await rig.run { rig in try await rig.aggregator.flush() }
    #expect(rig.handler.batches.prefix(2) == [[1, 2, 3, 4], [1, 2]])
    #expect(Set(rig.handler.batches.dropFirst(2)) == [[1], [2]])
    #expect(rig.fates.all == .of(handled: [2, 3, 4], failed: [1]))
  }

  @Test
  func withOneSlotTheNextBatchWaitsForAllParts() async throws {
    let rig = try await rig(count: 2, handler: .open { batch in if batch.contains(1) { throw Failure() } })
    try await rig.aggregator.send(contentsOf: 3...4)
    try await rig.run { rig in try await rig.aggregator.flush() }
    #expect(rig.handler.batches.first == [1, 2])
    #expect(rig.handler.batches.last == [3, 4])
    #expect(rig.handler.count == 4)
    #expect(rig.handler.mostAtOnce == 1)
  }

  @Test
  func aCancelledRunBeginsNoMoreParts() async throws {
    let rig = try await rig(count: 4, handler: .gated())
    try await rig.run { rig, run in
      try await rig.handler.call(0).fail(Failure())
      try await rig.handler.waitForCalls(count: 2)
      run.cancel()
      #expect(await run.error is CancellationError)
      #expect(rig.handler.count == 2)
      #expect(rig.aggregator.statistics.failed == 4)
    }
  }
}
