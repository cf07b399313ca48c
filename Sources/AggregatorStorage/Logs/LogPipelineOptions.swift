/// How messages go from a log into a sink.
package struct LogPipelineOptions: Sendable, Hashable {
  /// The most messages written at once, and the most asked of the log at once.
  package var batchSize = 500
  /// The longest that the first message of a batch waits for others.
  package var linger = Duration.milliseconds(10)
  /// The most writes at once; one partition has one at a time.
  package var concurrency = 4
  /// The most messages that are taken from the log and not settled, but for those of one answer of the log that wait for room;
  /// at least `batchSize`.
  package var capacity = 20_000
  /// The most bytes of such messages; a larger message is alone.
  package var maximumHeldBytes = 64 << 20
  /// The longest that a write may take before it is cancelled and tried again; `nil` for no limit.
  package var writeTimeout: Duration? = .seconds(30)
  /// The bound of the first back-off after a write that failed; it doubles with each.
  package var initialBackoff = Duration.milliseconds(50)
  /// The bound of all back-offs.
  package var maximumBackoff = Duration.seconds(5)
  /// The longest that writing what is in memory may take at the end; `nil` for as long as it takes while the sink works.
  ///
  /// What is not written then is given back, as is all else from the first write that fails.
  package var drainTimeout: Duration?

  /// Makes options, each with its default.
  package init() {}
}
