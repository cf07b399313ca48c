/// What happens to a message that is sent while the aggregator holds as much as it may.
public struct OverflowPolicy: Sendable, Hashable, CustomStringConvertible {
  enum Kind { case suspend, reject, dropOldest }

  let kind: Kind

  /// The sender waits for room, first come, first served: backpressure.
  public static let suspend = OverflowPolicy(kind: .suspend)

  /// The send throws ``AggregatorError/full``.
  public static let reject = OverflowPolicy(kind: .reject)

  /// The oldest message whose batch has not started is pushed out and given to `onFailure`.
  ///
  /// Its error is ``AggregatorError/dropped``. Messages that wait for `onFailure` have a bound of their own, `capacity`
  /// again; beyond it, or with nothing to push out, the send is refused as with ``reject``.
  public static let dropOldest = OverflowPolicy(kind: .dropOldest)

  /// The policy's name.
  public var description: String { "\(kind)" }
}
