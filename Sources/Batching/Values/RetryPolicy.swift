/// When and how often a failed batch is given to the handler again.
public struct RetryPolicy: Sendable, Hashable {
  package var maximumAttempts: Int
  var initial: Duration
  package var maximum: Duration
  var multiplier: Double
  var isolatesPoisonMessages: Bool

  /// A batch has one attempt.
  public static let never = RetryPolicy(
    maximumAttempts: 1, initial: .zero, maximum: .zero, multiplier: 1, isolatesPoisonMessages: false)

  /// Exponential back-off with full jitter.
  ///
  /// Before attempt *n* + 1 the slot sleeps for a random time between zero and
  /// `min(maximum, initial × multiplier^(n - 1))`. The source is Marc Brooker, "Exponential Backoff And Jitter" (AWS
  /// Architecture Blog, 2015), where full jitter does the least work. An error that is ``RetryAdvising`` can ask for
  /// another time, which is obeyed up to `maximum`, or for no retry.
  ///
  /// - Parameters:
  ///   - maximumAttempts: Handler calls for a batch, the first included. Default 5; at least 1.
  ///   - initial: The bound of the first back-off. Default 100 ms; not negative.
  ///   - maximum: The bound of every back-off. Default 30 s; at least `initial`.
  ///   - multiplier: How much the bound grows each time. Default 2; at least 1 and finite.
  ///   - isolatesPoisonMessages: Whether a batch that is out of attempts is halved, with one attempt for each part, until
  ///     the messages that fail stand alone; the others are handled. A batch of *n* messages costs at most 2*n* - 2 calls
  ///     more. An error that says that it is retryable (an outage) never splits a batch, and one that says that it is not
  ///     splits it at once. Default `false`.
  /// - Returns: The policy.
  public static func exponential(
    maximumAttempts: Int = 5,
    initial: Duration = .milliseconds(100),
    maximum: Duration = .seconds(30),
    multiplier: Double = 2,
    isolatesPoisonMessages: Bool = false
  ) -> RetryPolicy {
    RetryPolicy(
      maximumAttempts: maximumAttempts, initial: initial, maximum: maximum, multiplier: multiplier,
      isolatesPoisonMessages: isolatesPoisonMessages)
  }
}

extension RetryPolicy {
  func validate() throws(AggregatorError) {
    guard maximumAttempts >= 1 else {
      throw .invalidConfiguration("retry.maximumAttempts", was: "\(maximumAttempts)", allowed: "1 or more")
    }
    guard initial >= .zero else {
      throw .invalidConfiguration("retry.initial", was: "\(initial)", allowed: "zero or more")
    }
    guard maximum >= initial else {
      throw .invalidConfiguration("retry.maximum", was: "\(maximum)", allowed: "initial (\(initial)) or more")
    }
    guard multiplier >= 1, multiplier.isFinite else {
      throw .invalidConfiguration("retry.multiplier", was: "\(multiplier)", allowed: "1 or more, and finite")
    }
  }

  /// How long to wait after the failed attempt number `attempt`.
  ///
  /// The jitter is made of `random`, which is uniform over all its values.
  func backOff(after attempt: Int, advised: Duration?, random: UInt64) -> Duration {
    if let advised { return min(max(advised, .zero), maximum) }
    // Double holds any bound that a person waits for; the comparison keeps the infinite ones away from Duration.
    let bound = initial / .seconds(1) * power(multiplier, attempt - 1)
    let limit = bound < maximum / .seconds(1) ? Duration.seconds(bound) : maximum
    let fraction = Double(random >> 11) * 0x1p-53
    return min(limit * fraction, maximum)
  }
}

/// `base` to the power of `exponent`, by squaring; infinite where it overflows.
private func power(_ base: Double, _ exponent: Int) -> Double {
  var result = 1.0
  var square = base
  var rest = exponent
  while rest > 0 {
    if rest & 1 == 1 { result *= square }
    square *= square
    rest >>= 1
  }
  return result
}
