import Batching

/// An error of a handler that says nothing about trying again.
struct Failure: Error, Hashable {
  var id = 0
}

/// An error of a handler that says whether, and when, to try again.
struct Advice: RetryAdvising, Hashable {
  var isRetryable: Bool
  var retryAfter: Duration?

  static let outage = Advice(isRetryable: true)
  static let refusal = Advice(isRetryable: false)
}
