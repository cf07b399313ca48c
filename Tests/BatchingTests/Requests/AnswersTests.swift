import Batching
import BatchingTesting
import Testing

@Suite("Requests: each its own answer", .timeLimit(.minutes(5)))
struct AnswersTests {
  private struct Poison: Error, Equatable { var request = 0 }

  private struct Outage: RetryAdvising, Equatable {
    var isRetryable: Bool { true }
    var retryAfter: Duration? { nil }
  }

  private struct Refusal: RetryAdvising, Equatable {
    var isRetryable: Bool { false }
    var retryAfter: Duration? { nil }
  }

  @Test(arguments: [1, 2, 3, 8])
  func manyCallersOneCallEachItsOwn(batchSize: Int) async throws {
    let rig = try RequestRig(.init(batchSize: batchSize), handler: .open())
    try await rig.run { _ in
      let calls = rig.begin(0..<batchSize * 3)
      for (request, call) in calls.enumerated() { try await call.expect("\(request)") }
      #expect(rig.handler.inputs.map(\.messages) == (0..<3).map { Array($0 * batchSize..<($0 + 1) * batchSize) })
    }
  }

  @Test
  func whoHasItsAnswerFindsItCounted() async throws {
    let rig = try RequestRig(.init(batchSize: 2), handler: .open { if $0.contains(5) { throw Poison() } })
    try await rig.run { _ in
      for request in [0, 2] {
        let calls = rig.begin(request...request + 1)
        for call in calls { _ = try await call.value }
        #expect(rig.statistics.handled == request + 2)
        #expect(rig.statistics.held == 0)
      }
      let failing = rig.begin([4, 5])
      for call in failing { #expect(await call.error is Poison) }
      #expect(rig.statistics.failed == 2)
      #expect(rig.statistics.held == 0)
    }
  }

  @Test
  func aFewAreAnsweredWhenLingerIsOver() async throws {
    let rig = try RequestRig(.init(batchSize: 10, linger: .seconds(2)), handler: .open())
    try await rig.run { _ in
      let calls = rig.begin(1...3)
      try await rig.clock.waitForSleeper(until: .seconds(2))
      #expect(rig.handler.count == 0)
      rig.clock.advance(by: .seconds(2))
      for (index, call) in calls.enumerated() { try await call.expect("\(index + 1)") }
      #expect(rig.handler.inputs.map(\.messages) == [[1, 2, 3]])
    }
  }

  @Test(arguments: [(2, ["a"]), (2, []), (1, ["a", "b"])])
  func aWrongNumberOfAnswersIsAnErrorThatNamesBoth(requests: Int, answers: [String]) async throws {
    let rig = try RequestRig(.init(batchSize: requests), handler: .open(), responses: { _ in answers })
    try await rig.run { _ in
      for call in rig.begin(0..<requests) {
        let error = try #require(await call.error as? AggregatorError)
        #expect(error == .wrongNumberOfAnswers(0, to: 0))
        #expect(error.message.contains("\(answers.count) answers to \(requests) requests"))
      }
      #expect(rig.statistics.failed == requests)
    }
    let results = try RequestRig(.init(batchSize: requests), results: { _ in answers.map { .success($0) } })
    try await results.run { _ in
      for call in results.begin(0..<requests) {
        #expect(await call.error as? AggregatorError == .wrongNumberOfAnswers(0, to: 0))
      }
    }
  }

  @Test
  func someFailAndSomeSucceed() async throws {
    let rig = try RequestRig(.init(batchSize: 4)) { batch in
      batch.map { $0.isMultiple(of: 2) ? .success("\($0)") : .failure(Poison(request: $0)) }
    }
    try await rig.run { _ in
      let calls = rig.begin(0..<4)
      try await calls[0].expect("0")
      #expect(await calls[1].error as? Poison == Poison(request: 1))
      try await calls[2].expect("2")
      #expect(await calls[3].error as? Poison == Poison(request: 3))
      #expect((rig.statistics.handled, rig.statistics.failed) == (2, 2))
    }
  }

  @Test
  func onlyWhatMayBeRetriedIsAndTheOthersDoNotWaitForIt() async throws {
    let handler = GatedHandler<Batch<Int>>.open()
    let rig = try RequestRig(
      .init(batchSize: 3, retry: .exponential(maximumAttempts: 2, initial: .seconds(10))), handler: handler
    ) { batch in
      batch.map { request in
        switch request {
        case 0: .success("0")
        case 1: .failure(Refusal())
        default: batch.attempt == 1 ? .failure(Outage()) : .success("later")
        }
      }
    }
    try await rig.run { _ in
      let calls = rig.begin(0..<3)
      try await calls[0].expect("0")
      #expect(await calls[1].error is Refusal)
      #expect(!calls[2].hasEnded)
      try await rig.clock.waitForSleepers()
      rig.clock.advance(by: .seconds(10))
      try await calls[2].expect("later")
      #expect(rig.handler.inputs.map(\.messages) == [[0, 1, 2], [2]])
      #expect(rig.statistics.retries == 1)
    }
  }

  @Test
  func whatTheHandlerThrowsGoesToAllInItsBatch() async throws {
    let rig = try RequestRig(.init(batchSize: 2), handler: .open { if $0.contains(1) { throw Poison(request: 1) } })
    try await rig.run { _ in
      let calls = rig.begin(0..<4)
      for call in calls[..<2] { #expect(await call.error as? Poison == Poison(request: 1)) }
      try await calls[2].expect("2")
      try await calls[3].expect("3")
    }
  }

  @Test
  func aPoisonedRequestFailsItsOwnCallerOnly() async throws {
    let rig = try RequestRig(
      .init(batchSize: 8, retry: .exponential(maximumAttempts: 1, isolatesPoisonMessages: true)),
      handler: .open { if $0.contains(5) { throw Poison(request: 5) } })
    try await rig.run { _ in
      for (request, call) in rig.begin(0..<8).enumerated() {
        if request == 5 {
          #expect(await call.error as? Poison == Poison(request: 5))
        } else {
          try await call.expect("\(request)")
        }
      }
      #expect((rig.statistics.handled, rig.statistics.failed) == (7, 1))
    }
  }

  @Test
  func aPartialFailureWithoutResponsesFailsAllEachWithAnErrorThatSaysWhy() async throws {
    let rig = try RequestRig(
      .init(batchSize: 2), handler: .open(), responses: { _ in throw PartialBatchFailure([1: Poison(request: 1)]) })
    try await rig.run { _ in
      let calls = rig.begin(0..<2)
      #expect(await calls[0].error as? AggregatorError == .wrongNumberOfAnswers(0, to: 0))
      #expect(await calls[1].error as? Poison == Poison(request: 1))
    }
  }

  @Test
  func anAttemptThatTimedOutAnswersNobody() async throws {
    let handler = GatedHandler<Batch<Int>>.gated()
    let rig = try RequestRig(.init(batchSize: 1, handlerTimeout: .seconds(1)), handler: handler)
    try await rig.run { _ in
      let call = rig.begin(0)
      try await rig.clock.waitForSleeper(until: .seconds(1))
      rig.clock.advance(by: .seconds(1))
      #expect(await call.error as? AggregatorError == .handlerTimedOut)
    }
  }

  @Test(arguments: [false, true])
  func equalRequestsAreSentOnceIfAsked(deduplicating: Bool) async throws {
    let seen = Watched<[[Int]]>([])
    let aggregator = try RequestAggregator<Int, String>(
      configuration: .init(batchSize: 5), deduplicating: deduplicating
    ) { batch in
      seen.change { $0.append(batch.messages) }
      return batch.map { "\($0)" }
    }
    let run = Begun { try await aggregator.run() }
    let calls = [7, 8, 7, 7, 9].map { request in Begun { try await aggregator.send(request) } }
    var answers: [String] = []
    for call in calls { answers.append(try await call.value) }
    #expect(answers == ["7", "8", "7", "7", "9"])
    #expect(seen.current == (deduplicating ? [[7, 8, 9]] : [[7, 8, 7, 7, 9]]))
    #expect(aggregator.statistics.handled == 5)
    aggregator.shutdown()
    try await run.value
  }

  @Test
  func equalRequestsFailTogether() async throws {
    let aggregator = try RequestAggregator<Int, String>(
      configuration: .init(batchSize: 3), deduplicating: true
    ) { batch in
      throw PartialBatchFailure([batch.messages.firstIndex(of: 1) ?? 0: Poison(request: 1)])
    }
    let run = Begun { try await aggregator.run() }
    let calls = [1, 2, 1].map { request in Begun { try await aggregator.send(request) } }
    #expect(await calls[0].error as? Poison == Poison(request: 1))
    #expect(await calls[1].error as? AggregatorError == .wrongNumberOfAnswers(0, to: 0))
    #expect(await calls[2].error as? Poison == Poison(request: 1))
    aggregator.shutdown()
    try await run.value
  }
}
