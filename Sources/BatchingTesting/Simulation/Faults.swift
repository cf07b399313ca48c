public import Batching

/// What may go wrong in a simulation; the seed decides when, and how badly.
public struct Faults: OptionSet, Sendable, Hashable {
  /// One bit for each.
  public let rawValue: Int

  /// Makes a set of faults from its bits.
  public init(rawValue: Int) {
    self.rawValue = rawValue
  }

  /// Handler calls take their time.
  public static let slowHandlers = Faults(rawValue: 1 << 0)
  /// A call throws before your handler has been called.
  public static let errorsBefore = Faults(rawValue: 1 << 1)
  /// A call throws although your handler has done its work: the answer of the database was lost.
  public static let errorsAfter = Faults(rawValue: 1 << 2)
  /// Your handler gets a part of the batch, and the call reports the others as failed.
  public static let partialFailures = Faults(rawValue: 1 << 3)
  /// A call stays for an hour, unless it is cancelled.
  public static let hangs = Faults(rawValue: 1 << 4)
  /// A call takes its time even when it is cancelled, and may do its work after.
  public static let ignoredCancellations = Faults(rawValue: 1 << 5)
  /// The failure handler takes its time.
  public static let slowFailureHandlers = Faults(rawValue: 1 << 6)
  /// Tasks that send are cancelled.
  public static let cancelledSenders = Faults(rawValue: 1 << 7)
  /// The aggregator is shut down while messages are being sent.
  public static let earlyShutdowns = Faults(rawValue: 1 << 8)
  /// `run()` is cancelled.
  public static let cancelledRuns = Faults(rawValue: 1 << 9)

  /// Batch size, linger, concurrency and capacity are changed while it runs.
  public static let reconfigurations = Faults(rawValue: 1 << 10)
  /// All of them.
  public static let all = Faults(rawValue: (1 << 11) - 1)
  /// None: only the order of things varies.
  public static let none: Faults = []
}

/// An error that a simulation throws in place of a handler; it says nothing about trying again.
public struct SimulatedError: Error, Hashable, CustomStringConvertible {
  /// The handler call that it ended, from 1.
  public let call: Int

  /// Which call it was.
  public var description: String { "simulated error of call \(call)" }
}

/// An error that a simulation throws in place of a handler, with advice about trying again.
public struct SimulatedAdvice: RetryAdvising, Hashable, CustomStringConvertible {
  /// The handler call that it ended, from 1.
  public let call: Int
  /// Whether trying again makes sense.
  public let isRetryable: Bool
  /// How long to wait before.
  public let retryAfter: Duration?

  /// Which call it was, and the advice.
  public var description: String {
    let delay = retryAfter.map { " after \($0)" } ?? ""
    return "simulated \(isRetryable ? "outage" : "refusal") of call \(call)\(delay)"
  }
}
