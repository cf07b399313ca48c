/// An aggregator's ledger at one instant.
///
/// It adds up at every instant: `accepted == handled + failed + dropped + cancelled + held`. Each number is counted where
/// the thing happens; `held` is not computed from the others.
public struct AggregatorStatistics: Sendable, Hashable {
  // The first four change with each batch, and lie together for the sake of the caches.

  /// Messages accepted.
  public var accepted = 0
  /// Messages whose handler call returned.
  public var handled = 0
  /// Messages accepted and not yet settled.
  public var held = 0
  /// Messages that a handler call has at this moment.
  public var inFlight = 0
  /// Messages given up, after `onFailure` has returned.
  public var failed = 0
  /// Messages pushed out by newer ones.
  public var dropped = 0
  /// Messages taken back by their caller; always 0 but in a `RequestAggregator`.
  public var cancelled = 0
  /// Sends refused: full, closed, or too heavy.
  public var rejected = 0
  /// Senders that wait for room.
  public var waitingSenders = 0
  /// Handler calls after the first of a batch, calls for its parts included.
  public var retries = 0
  /// Batches that a slot has taken, by what first made each due; every trigger has its entry.
  public var batches: [Trigger: Int] = [:]

  /// A ledger in which nothing has happened.
  public init() {
    for trigger in Trigger.allCases { batches[trigger] = 0 }
  }
}
