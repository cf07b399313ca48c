/// Why a message failed, and whether to try it again.
///
/// For what a database or an endpoint says of a single message, in a ``PartialBatchFailure``; it can be thrown for a whole batch,
/// too.
///
/// ```swift
/// throw MessageError.retry(after: .seconds(2), because: "the shard is moving")
/// ```
public struct MessageError: RetryAdvising, CustomStringConvertible {
  /// Whether the same message may succeed later.
  public let isRetryable: Bool

  /// How long to wait before the next attempt; `nil` leaves it to the ``RetryPolicy``.
  public let retryAfter: Duration?

  /// Why it failed.
  public let reason: String

  /// What was thrown, if something was.
  public let underlyingError: (any Error)?

  private init(_ reason: String, _ error: (any Error)? = nil, isRetryable: Bool, retryAfter: Duration? = nil) {
    self.reason = reason
    self.isRetryable = isRetryable
    self.retryAfter = retryAfter
    underlyingError = error
  }

  /// The message is to be tried again, as the ``RetryPolicy`` says.
  public static func retry(because reason: String) -> MessageError {
    MessageError(reason, isRetryable: true)
  }

  /// The message is to be tried again, not before a time has passed.
  ///
  /// The time is obeyed up to the `maximum` of the ``RetryPolicy``.
  public static func retry(after delay: Duration, because reason: String) -> MessageError {
    MessageError(reason, isRetryable: true, retryAfter: delay)
  }

  /// The message is given up without another attempt.
  public static func refuse(because reason: String) -> MessageError {
    MessageError(reason, isRetryable: false)
  }

  /// The message is to be tried again, because of an error that does not say so itself.
  public static func retry(because error: any Error, after delay: Duration? = nil) -> MessageError {
    MessageError("\(error)", error, isRetryable: true, retryAfter: delay)
  }

  /// The message is given up, because of an error that does not say so itself.
  public static func refuse(because error: any Error) -> MessageError {
    MessageError("\(error)", error, isRetryable: false)
  }

  /// The reason, and what is to be done.
  public var description: String {
    if !isRetryable { return "\(reason) (refused)" }
    return retryAfter.map { "\(reason) (to be tried again after \($0))" } ?? "\(reason) (to be tried again)"
  }
}

extension MessageError {
  /// What an HTTP status means for a message: `nil` for one that is handled.
  ///
  /// To be tried again are 408, 425, 429 and those of 5xx that speak of a state that passes: all but 501, 505, 506, 508, 510
  /// and 511. All others below 200 and from 300 on are refusals. (RFC 9110, RFC 6585, RFC 8470.)
  ///
  /// - Parameters:
  ///   - code: The status.
  ///   - retryAfter: What the header `Retry-After` says.
  ///   - detail: What the answer says beside the status.
  /// - Returns: Why it failed, or `nil` for 200 to 299.
  public static func httpStatus(_ code: Int, retryAfter: Duration? = nil, detail: String? = nil) -> MessageError? {
    let reason = "HTTP status \(code)" + (detail.map { ": \($0)" } ?? "")
    switch code {
    case 200...299: return nil
    case 501, 505, 506, 508, 510, 511: return MessageError(reason, isRetryable: false)
    case 408, 425, 429, 500...599: return MessageError(reason, isRetryable: true, retryAfter: retryAfter)
    default: return MessageError(reason, isRetryable: false)
    }
  }

  /// What an SQLSTATE means for a message.
  ///
  /// To be tried again are states that pass: the classes 08 (connection), 40 (rolled back: deadlocks, serialization), 53 (out of
  /// resources), 57 (operator intervention: shutting down, starting up) and 58 (system error), and 55P03 (a lock is not
  /// available). All others are refusals: the same message would fail again. (PostgreSQL, appendix A, error codes.)
  ///
  /// - Parameters:
  ///   - code: Five characters, such as `23505` for a key that is there already.
  ///   - detail: What the database says beside it.
  /// - Returns: Why it failed.
  public static func sqlState(_ code: String, detail: String? = nil) -> MessageError {
    let reason = "SQLSTATE \(code)" + (detail.map { ": \($0)" } ?? "")
    let passes = ["08", "40", "53", "57", "58"].contains { code.hasPrefix($0) } || code == "55P03"
    return MessageError(reason, isRetryable: passes)
  }
}
