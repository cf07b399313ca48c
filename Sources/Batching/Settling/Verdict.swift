/// What becomes of a list of messages after a handler call; pure.
struct Verdict<Message: Sendable> {
  /// Messages that are handled, and their weight.
  var handled = 0
  var handledWeight = 0
  /// Messages that are given up, and their weight.
  var failure: BatchFailure<Message>?
  var failureWeight = 0
  /// Lists to go on with, in this order.
  var next: [Part<Message>] = []
  /// How long to wait before.
  var backOff = Duration.zero

  /// All is handled.
  init(handled part: Part<Message>) {
    handled = part.messages.count
    handledWeight = part.weight
  }

  /// All is given up without another attempt.
  init(givenUp part: Part<Message>, _ abort: AbortReason) {
    self.init(part.failure(abort), weight: part.weight)
  }

  private init(_ failure: BatchFailure<Message>, weight: Int) {
    self.failure = failure
    failureWeight = weight
  }

  /// The handler threw.
  ///
  /// With `abort` nothing is tried again any more; `random` is for the jitter; `number` makes a sequence number for
  /// each new list.
  init(
    _ part: Part<Message>, threw error: any Error, policy: RetryPolicy, abort: AbortReason?,
    random: () -> UInt64, number: () -> Int
  ) {
    if let partial = error as? PartialBatchFailure, partial.failures.keys.allSatisfy(part.messages.indices.contains) {
      self.init(part, partly: partial, policy: policy, abort: abort, random: random, number: number)
      return
    }
    let advice = error as? any RetryAdvising
    let final = abort?.error(over: error) ?? error
    self.init(part.failure(final, attempts: part.attempt), weight: part.weight)
    guard abort == nil else { return }
    let isRefusal = advice?.isRetryable == false
    if !isRefusal, !part.isHalf, part.attempt < policy.maximumAttempts {
      keepTrying(
        [part], error, after: policy.backOff(after: part.attempt, advised: advice?.retryAfter, random: random()))
    } else if policy.isolatesPoisonMessages, advice?.isRetryable != true, part.messages.count > 1 {
      let middle = part.messages.count / 2
      var halves = [part.slice(0..<middle), part.slice(middle..<part.messages.count)]
      for index in halves.indices {
        halves[index].isHalf = true
        halves[index].trigger = .split
        halves[index].sequenceNumber = number()
      }
      keepTrying(halves, error, after: .zero)
    }
  }

  /// The handler named the messages that failed, so there is nothing to isolate: those that may be tried again are, the
  /// others are given up, each for its own reason.
  private init(
    _ part: Part<Message>, partly partial: PartialBatchFailure, policy: RetryPolicy, abort: AbortReason?,
    random: () -> UInt64, number: () -> Int
  ) {
    var again = part.slice(0..<0)
    var errors: [any Error] = []
    var advised: Duration?
    var items: [BatchFailure<Message>.Item] = []
    let mayRetry = abort == nil && !part.isHalf && part.attempt < policy.maximumAttempts
    for (offset, message) in part.messages.enumerated() {
      let weight = part.weights?[offset] ?? 0
      guard let error = partial.failures[offset] else {
        handled += 1
        handledWeight += weight
        continue
      }
      let advice = error as? any RetryAdvising
      if mayRetry, advice?.isRetryable != false {
        again.append(offset, of: part)
        errors.append(error)
        if let retryAfter = advice?.retryAfter { advised = max(advised ?? .zero, retryAfter) }
      } else {
        items.append(.init(message: message, error: abort?.error(over: error) ?? error))
        failureWeight += weight
      }
    }
    if let first = items.first {
      let listed = items.count < part.messages.count ? number() : part.sequenceNumber
      failure = BatchFailure(items: items, error: first.error, attempts: part.attempt, sequenceNumber: listed)
    }
    if !again.messages.isEmpty {
      if again.messages.count < part.messages.count { again.sequenceNumber = number() }
      next = [again]
      next[0].attempt += 1
      next[0].lastError = partial
      next[0].lastErrors = errors
      backOff = policy.backOff(after: part.attempt, advised: advised, random: random())
    }
  }

  private mutating func keepTrying(_ parts: [Part<Message>], _ error: any Error, after backOff: Duration) {
    failure = nil
    failureWeight = 0
    self.backOff = backOff
    next = parts
    for index in next.indices {
      next[index].attempt += 1
      next[index].lastError = error
      next[index].lastErrors = nil
    }
  }
}

extension AbortReason {
  /// The error of messages that are given up, when the handler threw `error`, or had not been called.
  func error(over error: (any Error)?) -> any Error {
    switch self {
    case .runCancelled: error ?? CancellationError()
    case .drainTimedOut: AggregatorError.drainTimedOut.because(error)
    }
  }
}
