/// Why an aggregator refused a message, gave one up, or could not be made.
///
/// Two errors are equal when their codes are: `error == .closed` holds whatever the error says beside it.
public struct AggregatorError: Error {
  enum Code: Hashable {
    case closed, full, tooHeavy, cancelled, handlerTimedOut, drainTimedOut, dropped, alreadyRun, invalidConfiguration,
      wrongNumberOfAnswers
  }

  let code: Code

  /// What went wrong, and what to do about it.
  public let message: String

  /// Of a `send(contentsOf:)` that failed: how many messages, from the first on, had been accepted.
  public internal(set) var acceptedCount = 0

  /// The error that the handler threw when it was given up, if it threw one.
  public internal(set) var underlyingError: (any Error)?

  /// The aggregator has been shut down and takes no more messages.
  public static let closed = AggregatorError(
    code: .closed, message: "the aggregator has been shut down and takes no more messages")

  /// The aggregator holds as much as it may.
  public static let full = AggregatorError(
    code: .full,
    message: "the aggregator holds as many messages as it may; send later, raise capacity, or use overflow: .suspend")

  /// The message alone weighs more than a batch, or all that is held, may weigh.
  public static let tooHeavy = AggregatorError(
    code: .tooHeavy,
    message: "the message weighs more than maximumBatchWeight or maximumHeldWeight; split it or raise the limit")

  /// The sending task was cancelled while it waited for room.
  public static let cancelled = AggregatorError(
    code: .cancelled, message: "the sending task was cancelled while it waited for room")

  /// The handler took longer than `handlerTimeout` and then threw.
  public static let handlerTimedOut = AggregatorError(
    code: .handlerTimedOut, message: "the handler took longer than handlerTimeout and was cancelled")

  /// The drain took longer than `drainTimeout`, and these messages were not handled in it.
  public static let drainTimedOut = AggregatorError(
    code: .drainTimedOut, message: "the drain after the shutdown took longer than drainTimeout")

  /// The message was pushed out by a newer one under ``OverflowPolicy/dropOldest``.
  public static let dropped = AggregatorError(
    code: .dropped, message: "the aggregator was full and a newer message pushed this one out")

  /// `run()` was called a second time.
  public static let alreadyRun = AggregatorError(
    code: .alreadyRun, message: "run() was called before; an aggregator is run once, so make another")

  /// The handler of a ``RequestAggregator`` returned more answers, or fewer, than there were requests.
  ///
  /// - Parameters:
  ///   - answers: How many answers there were.
  ///   - requests: How many requests.
  /// - Returns: An error whose message names both.
  public static func wrongNumberOfAnswers(_ answers: Int, to requests: Int) -> AggregatorError {
    AggregatorError(
      code: .wrongNumberOfAnswers,
      message:
        "the handler returned \(answers) answers to \(requests) requests; it must return one for each, in their order")
  }

  /// A value of the configuration makes no sense.
  ///
  /// - Parameters:
  ///   - name: Which value.
  ///   - value: What it was.
  ///   - allowed: What is allowed.
  /// - Returns: An error whose message names all three.
  public static func invalidConfiguration(_ name: String, was value: String, allowed: String) -> AggregatorError {
    AggregatorError(code: .invalidConfiguration, message: "\(name) is \(value), but must be \(allowed)")
  }
}

extension AggregatorError {
  @usableFromInline
  func after(_ acceptedCount: Int) -> AggregatorError {
    var error = self
    error.acceptedCount = acceptedCount
    return error
  }

  func because(_ underlyingError: (any Error)?) -> AggregatorError {
    var error = self
    error.underlyingError = underlyingError
    return error
  }
}

extension AggregatorError: Hashable {
  /// Whether both have the same code.
  public static func == (left: AggregatorError, right: AggregatorError) -> Bool { left.code == right.code }

  /// Hashes the code.
  public func hash(into hasher: inout Hasher) { hasher.combine(code) }
}

extension AggregatorError {
  /// Lets `catch AggregatorError.full` mean an error with that code.
  public static func ~= (pattern: AggregatorError, error: any Error) -> Bool {
    (error as? AggregatorError) == pattern
  }
}

extension AggregatorError: CustomStringConvertible {
  /// The code and the message.
  public var description: String {
    var text = "\(code): \(message)"
    if acceptedCount > 0 { text += " (\(acceptedCount) messages were accepted before)" }
    if let underlyingError { text += " (it threw: \(underlyingError))" }
    return text
  }
}
