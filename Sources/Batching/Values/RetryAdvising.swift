/// An error that knows whether trying again makes sense, and when.
///
/// A handler throws it for a whole batch, or names it for single messages in a ``PartialBatchFailure``. An error that is
/// not `RetryAdvising` is retried as the ``RetryPolicy`` says.
public protocol RetryAdvising: Error {
  /// Whether the same messages may succeed later.
  ///
  /// `true` is an outage: it is retried and its batch is never split. `false` is a refusal: it is not retried.
  var isRetryable: Bool { get }

  /// How long to wait before the next attempt; `nil` leaves it to the ``RetryPolicy``.
  ///
  /// It is obeyed up to the policy's `maximum`.
  var retryAfter: Duration? { get }
}
