import Testing
import Tracing

@testable import Batching

private struct Unknown: Error {}
private struct Outage: RetryAdvising {
  var isRetryable: Bool { true }
  var retryAfter: Duration?
}
private struct Refusal: RetryAdvising {
  var isRetryable: Bool { false }
  var retryAfter: Duration? { nil }
}

/// What a verdict says, in a form that can be compared.
private struct Summary: Equatable {
  struct List: Equatable {
    var messages: [Int]
    var attempt: Int
    var number: Int
    var trigger = Trigger.size
    var isHalf = false
  }

  var handled = 0
  var failed: [Int] = []
  var errors: [String] = []
  var attempts: Int?
  var failedNumber: Int?
  var next: [List] = []
  var backOff = Duration.zero

  init(
    handled: Int = 0, failed: [Int] = [], errors: [String] = [], attempts: Int? = nil, failedNumber: Int? = nil,
    next: [List] = [], backOff: Duration = .zero
  ) {
    self.handled = handled
    self.failed = failed
    self.errors = errors
    self.attempts = attempts
    self.failedNumber = failedNumber
    self.next = next
    self.backOff = backOff
  }

  init(_ verdict: Verdict<Int>) {
    handled = verdict.handled
    failed = verdict.failure?.messages ?? []
    errors = verdict.failure?.items.map { "\(type(of: $0.error))" } ?? []
    attempts = verdict.failure?.attempts
    failedNumber = verdict.failure?.sequenceNumber
    next = verdict.next.map {
      List(
        messages: $0.messages, attempt: $0.attempt, number: $0.sequenceNumber, trigger: $0.trigger, isHalf: $0.isHalf)
    }
    backOff = verdict.backOff
  }
}

@Suite("Verdict")
struct VerdictTests {
  // The random number below stands for the middle of its range: every back-off is half its bound.
  private func judge(
    _ messages: [Int], _ error: any Error, attempt: Int = 1, isHalf: Bool = false, abort: AbortReason? = nil,
    isolating: Bool = false
  ) -> Summary {
    var part = Part(messages: messages, weights: nil, trigger: .size, sequenceNumber: 7)
    part.attempt = attempt
    part.isHalf = isHalf
    var number = 100
    return Summary(
      Verdict(
        part, threw: error,
        policy: .exponential(
          maximumAttempts: 3, initial: .seconds(1), maximum: .seconds(10), isolatesPoisonMessages: isolating),
        abort: abort, random: { 1 << 63 },
        number: {
          number += 1
          return number
        }))
  }

  @Test func `a failed attempt is retried as the same list after a back-off`() {
    #expect(
      judge([1, 2], Unknown())
        == Summary(next: [.init(messages: [1, 2], attempt: 2, number: 7)], backOff: .milliseconds(500)))
    #expect(
      judge([1, 2], Outage(), attempt: 2)
        == Summary(next: [.init(messages: [1, 2], attempt: 3, number: 7)], backOff: .seconds(1)))
  }

  @Test func `out of attempts all is given up with the number of calls`() {
    for error in [Unknown(), Outage()] as [any Error] {
      #expect(
        judge([1, 2], error, attempt: 3)
          == Summary(
            failed: [1, 2], errors: Array(repeating: "\(type(of: error))", count: 2), attempts: 3, failedNumber: 7))
    }
  }

  @Test func `a refusal is not retried`() {
    #expect(
      judge([1], Refusal()) == Summary(failed: [1], errors: ["Refusal"], attempts: 1, failedNumber: 7))
  }

  @Test func `the time that an error asks for is obeyed up to the maximum`() {
    #expect(judge([1], Outage(retryAfter: .seconds(3))).backOff == .seconds(3))
    #expect(judge([1], Outage(retryAfter: .seconds(99))).backOff == .seconds(10))
    #expect(judge([1], Outage(retryAfter: .zero)).backOff == .zero)
  }

  @Test func `isolation halves what is out of attempts, each half with a number and one attempt of its own`() {
    #expect(
      judge([1, 2, 3], Unknown(), attempt: 3, isolating: true)
        == Summary(next: [
          .init(messages: [1], attempt: 4, number: 101, trigger: .split, isHalf: true),
          .init(messages: [2, 3], attempt: 4, number: 102, trigger: .split, isHalf: true),
        ]))
    #expect(
      judge([2, 3], Unknown(), attempt: 4, isHalf: true, isolating: true).next.map(\.messages) == [[2], [3]])
    #expect(judge([2], Unknown(), attempt: 5, isHalf: true, isolating: true).failed == [2])
  }

  @Test func `isolation never splits an outage, and a refusal at once`() {
    #expect(judge([1, 2], Outage(), attempt: 3, isolating: true).failed == [1, 2])
    #expect(judge([1, 2], Outage(), attempt: 4, isHalf: true, isolating: true).failed == [1, 2])
    #expect(judge([1, 2], Refusal(), isolating: true).next.map(\.messages) == [[1], [2]])
  }

  @Test(arguments: 1...40) func `isolating a batch of which all fail takes 2n - 2 calls more`(count: Int) {
    var calls = 0
    var lists = [(Array(0..<count), 3, false)]
    var failed: [Int] = []
    while let (messages, attempt, isHalf) = lists.popLast() {
      calls += 1
      let summary = judge(messages, Unknown(), attempt: attempt, isHalf: isHalf, isolating: true)
      failed += summary.failed
      lists += summary.next.reversed().map { ($0.messages, $0.attempt, $0.isHalf) }
    }
    #expect(calls - 1 == 2 * count - 2)
    #expect(failed == Array(0..<count))
  }

  @Test func `of a partial failure the others are handled and the named ones retried as a new list`() {
    #expect(
      judge([1, 2, 3], PartialBatchFailure([1: Unknown()]))
        == Summary(handled: 2, next: [.init(messages: [2], attempt: 2, number: 101)], backOff: .milliseconds(500)))
  }

  @Test func `a partial failure that names all keeps the list's number`() {
    #expect(
      judge([1, 2], PartialBatchFailure([0: Unknown(), 1: Unknown()])).next
        == [.init(messages: [1, 2], attempt: 2, number: 7)])
  }

  @Test func `of a partial failure refusals are given up at once, and each keeps its own error`() {
    #expect(
      judge([1, 2, 3, 4], PartialBatchFailure([0: Refusal(), 1: Unknown(), 3: Outage(retryAfter: .seconds(4))]))
        == Summary(
          handled: 1, failed: [1], errors: ["Refusal"], attempts: 1, failedNumber: 101,
          next: [.init(messages: [2, 4], attempt: 2, number: 102)], backOff: .seconds(4)))
    #expect(
      judge([1, 2, 3], PartialBatchFailure([2: Unknown(), 0: Outage()]), attempt: 3)
        == Summary(handled: 1, failed: [1, 3], errors: ["Outage", "Unknown"], attempts: 3, failedNumber: 101))
  }

  @Test func `a partial failure that names nothing has handled all`() {
    #expect(judge([1, 2], PartialBatchFailure([:])) == Summary(handled: 2))
  }

  @Test(arguments: [-1, 2, 99]) func `an unknown offset fails the whole attempt`(offset: Int) {
    let summary = judge([1, 2], PartialBatchFailure([0: Unknown(), offset: Unknown()]))
    #expect(summary.handled == 0)
    #expect(summary.next.map(\.messages) == [[1, 2]])
  }

  @Test func `after an abort nothing is tried again`() {
    #expect(
      judge([1, 2], Outage(), abort: .runCancelled, isolating: true)
        == Summary(failed: [1, 2], errors: ["Outage", "Outage"], attempts: 1, failedNumber: 7))
    #expect(
      judge([1, 2], Outage(), abort: .drainTimedOut)
        == Summary(failed: [1, 2], errors: ["AggregatorError", "AggregatorError"], attempts: 1, failedNumber: 7))
    #expect(
      judge([1, 2], PartialBatchFailure([1: Unknown()]), abort: .drainTimedOut)
        == Summary(handled: 1, failed: [2], errors: ["AggregatorError"], attempts: 1, failedNumber: 101))
  }

  @Test func `weights go with their messages`() {
    let part = Part(messages: [1, 2, 3, 4], weights: [10, 20, 30, 40], trigger: .size, sequenceNumber: 1)
    let partial = Verdict(
      part, threw: PartialBatchFailure([1: Unknown(), 2: Refusal()]), policy: .exponential(), abort: nil,
      random: { 0 }, number: { 2 })
    #expect(partial.handledWeight == 50)
    #expect(partial.failureWeight == 30)
    #expect(partial.next.map(\.weights) == [[20]])
    let halves = Verdict(
      part, threw: Refusal(), policy: .exponential(isolatesPoisonMessages: true), abort: nil, random: { 0 },
      number: { 2 })
    #expect(halves.next.map(\.weights) == [[10, 20], [30, 40]])
    #expect(Verdict(handled: part).handledWeight == 100)
    #expect(Verdict(givenUp: part, .runCancelled).failureWeight == 100)
  }

  @Test func `a message without a context keeps its place among those with one`() {
    let part = Part(
      messages: [1, 2, 3], contexts: [nil, .topLevel, nil], trigger: .size, sequenceNumber: 1)
    let partial = Verdict(
      part, threw: PartialBatchFailure([0: Unknown(), 1: Unknown()]), policy: .exponential(), abort: nil,
      random: { 0 }, number: { 2 })
    #expect(partial.next.first?.contexts?.map { $0 != nil } == [false, true])
    let halves = Verdict(
      part, threw: Refusal(), policy: .exponential(isolatesPoisonMessages: true), abort: nil, random: { 0 },
      number: { 2 })
    #expect(halves.next.map { $0.contexts?.map { $0 != nil } } == [[false], [true, false]])
  }

  @Test func `what is given up in a back-off keeps each message's own error`() {
    let part = Part(messages: [1, 2, 3], weights: nil, trigger: .size, sequenceNumber: 1)
    let partial = Verdict(
      part, threw: PartialBatchFailure([0: Unknown(), 2: Outage()]), policy: .exponential(), abort: nil,
      random: { 0 }, number: { 2 })
    let cancelled = partial.next.map { Summary(Verdict(givenUp: $0, .runCancelled)) }
    #expect(cancelled == [Summary(failed: [1, 3], errors: ["Unknown", "Outage"], attempts: 1, failedNumber: 2)])
    let timedOut = partial.next.map { Verdict(givenUp: $0, .drainTimedOut).failure?.items.map(\.error) }
    #expect(
      timedOut.first??.map { ($0 as? AggregatorError)?.underlyingError.map { "\(type(of: $0))" } }
        == ["Unknown", "Outage"])
  }
}
