import Batching
import BatchingTesting
import Testing

// Everywhere `linger: .zero`, so that nobody but a back-off sleeps, and messages that are to be one batch are sent before
// run(), where no slot takes the first of them.

@Suite("Guarantee 11: retry", .timeLimit(.minutes(5)))
struct Guarantee11Retry {
  @Test(arguments: batchSizes)
  func aFailedBatchIsTriedAgainUntilItsAttemptsAreUsedUp(batchSize: Int) async throws {
    let rig = try Rig(
      .init(batchSize: batchSize, linger: .zero, retry: .exponential(maximumAttempts: 3, initial: .seconds(1))))
    let messages = Array(0..<batchSize)
    try await rig.aggregator.send(contentsOf: messages)
    try await rig.run { rig in
      for attempt in 1...3 {
        let call = try await rig.handler.call(attempt - 1)
        #expect(call.input.attempt == attempt)
        #expect(rig.aggregator.statistics.inFlight == batchSize)
        #expect(rig.aggregator.statistics.retries == attempt - 1)
        call.fail(Failure(id: attempt))
        if attempt < 3 {
          try await rig.clock.waitForSleepers()
          #expect(rig.failures.count == 0)
          rig.clock.advance(by: .seconds(30))
        }
      }
      try await rig.aggregator.flush()
    }
    #expect(rig.handler.batches == [messages, messages, messages])
    #expect(Set(rig.handler.inputs.map(\.sequenceNumber)).count == 1, "the same list keeps its number")
    #expect(Set(rig.handler.inputs.map(\.trigger)).count == 1)
    let failure = try #require(rig.failures.inputs.first)
    #expect(failure.attempts == 3)
    #expect(failure.sequenceNumber == rig.handler.inputs[0].sequenceNumber)
    #expect(rig.fates.all == .of(failed: messages, because: Failure(id: 3)))
    #expect(rig.aggregator.statistics.retries == 2)
    // One sleep for each back-off, none after the last attempt.
    #expect(rig.clock.sleepCalls == 2)
  }

  @Test(arguments: batchSizes)
  func aBatchThatSucceedsInTheEndIsHandled(batchSize: Int) async throws {
    let rig = try Rig(
      .init(batchSize: batchSize, retry: .exponential(maximumAttempts: 4, initial: .zero, maximum: .zero)),
      handler: .open { batch in if batch.attempt < 4 { throw Failure() } })
    try await rig.run { rig in
      try await rig.aggregator.send(contentsOf: 0..<(2 * batchSize))
      try await rig.aggregator.flush()
    }
    #expect(rig.handler.inputs.map(\.attempt) == [1, 2, 3, 4, 1, 2, 3, 4])
    #expect(rig.fates.all == .of(handled: Array(0..<(2 * batchSize))))
    #expect(rig.aggregator.statistics.retries == 6)
  }

  @Test
  func withoutARetryPolicyABatchHasOneAttempt() async throws {
    let rig = try Rig(.init(batchSize: 1), handler: .open { _ in throw Advice(isRetryable: true, retryAfter: .zero) })
    try await rig.run { rig in try await rig.aggregator.send(contentsOf: 1...2) }
    #expect(rig.handler.batches == [[1], [2]])
    #expect(rig.failures.inputs.map(\.attempts) == [1, 1])
    #expect(rig.clock.sleepCalls == 0)
  }

  @Test
  func theBackOffIsSpreadEvenlyFromZeroToItsBound() async throws {
    let rig = try Rig(
      .init(
        batchSize: 1, linger: .zero,
        retry: .exponential(maximumAttempts: 201, initial: .seconds(1), maximum: .seconds(1), multiplier: 1)))
    var delays: [Double] = []
    try await rig.run { rig in
      try await rig.aggregator.send(1)
      for attempt in 0..<200 { delays.append(try await delay(afterFailing: attempt, rig)) }
      try await rig.handler.call(200).succeed()
      try await rig.aggregator.flush()
    }
    #expect(delays.allSatisfy { (0...1).contains($0) })
    // 200 uniform numbers: the chance that any of these fails is below one in a million.
    #expect((0.35...0.65).contains(delays.reduce(0, +) / 200))
    for quarter in 0..<4 {
      let count = delays.count { Int($0 * 4) == quarter }
      #expect((15...90).contains(count), "quarter \(quarter)")
    }
  }

  @Test
  func theBoundGrowsExponentiallyUpToTheMaximum() async throws {
    let rig = try Rig(
      .init(
        batchSize: 1, linger: .zero,
        retry: .exponential(maximumAttempts: 6, initial: .seconds(1), maximum: .seconds(6), multiplier: 2)))
    var longest = [0.0, 0, 0, 0, 0]
    try await rig.run { rig in
      for message in 0..<60 {
        try await rig.aggregator.send(message)
        for attempt in 0..<5 {
          longest[attempt] = max(longest[attempt], try await delay(afterFailing: message * 6 + attempt, rig))
        }
        try await rig.handler.call(message * 6 + 5).fail(Failure())
        try await rig.aggregator.flush()
      }
    }
    // The longest of 60 uniform numbers is above two thirds of the bound, but for one chance in 10^10.
    for (longest, bound) in zip(longest, [1.0, 2, 4, 6, 6]) {
      #expect((bound * 2 / 3...bound).contains(longest))
    }
  }

  /// Fails the call and returns for how many seconds the aggregator then sleeps, and lets it.
  private func delay(afterFailing call: Int, _ rig: Rig) async throws -> Double {
    try await rig.handler.call(call).fail(Failure())
    try await rig.clock.waitForSleepers()
    let deadline = try #require(rig.clock.deadlines.first)
    let delay = deadline - rig.clock.elapsed
    rig.clock.advance(to: deadline)
    return delay / .seconds(1)
  }

  // MARK: - Advice

  @Test(arguments: [(Duration.milliseconds(7), Duration.milliseconds(7)), (.seconds(30), .seconds(30))])
  func anErrorsRetryAfterIsObeyed(asked: Duration, slept: Duration) async throws {
    try await expectSleep(of: slept, after: Advice(isRetryable: true, retryAfter: asked))
  }

  @Test
  func noErrorMakesItSleepLongerThanTheMaximum() async throws {
    try await expectSleep(of: .seconds(30), after: Advice(isRetryable: true, retryAfter: .seconds(31)))
  }

  private func expectSleep(of duration: Duration, after error: any Error) async throws {
    let rig = try Rig(.init(batchSize: 1, linger: .zero, retry: .exponential(maximum: .seconds(30))))
    try await rig.run { rig in
      try await rig.aggregator.send(1)
      try await rig.handler.call(0).fail(error)
      try await rig.clock.waitForSleepers()
      #expect(rig.clock.deadlines == [duration])
      rig.clock.advance(by: duration)
      try await rig.handler.call(1).succeed()
      try await rig.aggregator.flush()
    }
    #expect(rig.fates.all == .of(handled: [1]))
  }

  @Test(arguments: batchSizes)
  func aRefusalIsNotRetried(batchSize: Int) async throws {
    let rig = try Rig(
      .init(batchSize: batchSize, retry: .exponential()), handler: .open { _ in throw Advice.refusal })
    try await rig.run { rig in
      try await rig.aggregator.send(contentsOf: 0..<batchSize)
      try await rig.aggregator.flush()
    }
    #expect(rig.handler.count == 1)
    #expect(rig.failures.inputs.map(\.attempts) == [1])
    #expect(rig.fates.all == .of(failed: Array(0..<batchSize), because: Advice.refusal))
  }

  @Test
  func anOutageIsRetriedAsOftenAsTheOthers() async throws {
    let rig = try Rig(
      .init(batchSize: 2, retry: .exponential(maximumAttempts: 3, initial: .zero, maximum: .zero)),
      handler: .open { _ in throw Advice.outage })
    try await rig.run { rig in
      try await rig.aggregator.send(contentsOf: 1...2)
      try await rig.aggregator.flush()
    }
    #expect(rig.handler.inputs.map(\.attempt) == [1, 2, 3])
    #expect(rig.fates.all == .of(failed: [1, 2], because: Advice.outage))
  }

  // MARK: - The slot

  @Test(arguments: slotCounts)
  func aBackOffKeepsItsSlotAndItsRoom(concurrency: Int) async throws {
    let rig = try Rig(
      .init(
        batchSize: 1, linger: .zero, concurrency: concurrency, capacity: concurrency + 1,
        retry: .exponential(initial: .seconds(1))))
    try await rig.run { rig in
      try await rig.aggregator.send(contentsOf: 0...concurrency)
      for slot in 0..<concurrency { try await rig.handler.call(slot).fail(Failure()) }
      try await rig.clock.waitForSleepers(count: concurrency)
      await settle()
      #expect(rig.handler.count == concurrency)
      #expect(rig.aggregator.statistics.inFlight == 0)
      #expect(rig.aggregator.statistics.held == concurrency + 1)
      #expect(rig.aggregator.trySend(100) == .full)
      rig.clock.advance(by: .seconds(30))
      rig.handler.open()
      try await rig.aggregator.flush()
    }
    #expect(rig.handler.mostAtOnce <= concurrency)
    #expect(rig.fates.all == .of(handled: Array(0...concurrency)))
  }

  @Test
  func theOtherSlotsGoOnMeanwhile() async throws {
    let rig = try Rig(.init(batchSize: 1, linger: .zero, concurrency: 2, retry: .exponential(initial: .seconds(1))))
    try await rig.run { rig in
      try await rig.aggregator.send(1)
      try await rig.handler.call(0).fail(Failure())
      try await rig.clock.waitForSleepers()
      try await rig.aggregator.send(contentsOf: 2...4)
      for number in 1...3 { try await rig.handler.call(number).succeed() }
      try await eventually("the others are handled") { rig.aggregator.statistics.handled == 3 }
      rig.clock.advance(by: .seconds(1))
      try await rig.handler.call(4).succeed()
      try await rig.aggregator.flush()
    }
    #expect(rig.handler.batches == [[1], [2], [3], [4], [1]])
  }
}
