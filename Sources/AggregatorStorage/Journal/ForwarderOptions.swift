/// How messages go from a journal into a sink.
package struct ForwarderOptions: Sendable, Hashable {
  /// The most messages written at once.
  package var batchSize = 500
  /// The longest that the first message of a batch waits for others.
  package var linger = Duration.zero
  /// The most writes at once; one stream has one at a time.
  package var concurrency = 1
  /// The most messages of the journal that are in memory; at least `batchSize`.
  package var capacity = 20_000
  /// The most bytes of messages of the journal that are in memory; a larger message is alone in it.
  package var maximumHeldBytes = 64 << 20
  /// The longest that a write may take before it is cancelled and tried again; `nil` for no limit.
  package var writeTimeout: Duration? = .seconds(30)
  /// The bound of the first back-off after a write that failed; it doubles with each.
  package var initialBackoff = Duration.milliseconds(50)
  /// The bound of all back-offs.
  package var maximumBackoff = Duration.seconds(5)
  /// The longest that writing what is in memory may take at the end; `nil` for as long as it takes while the sink works.
  ///
  /// What is not written then stays in the journal, as does all else from the first write that fails.
  package var drainTimeout: Duration?
  /// The longest that messages that are written wait for others with which they are removed from the journal.
  package var removalLinger = Duration.milliseconds(50)
  /// The most messages that are looked at in one reading of the journal.
  var readSize = 1_000

  /// Makes options, each with its default.
  package init() {}
}
