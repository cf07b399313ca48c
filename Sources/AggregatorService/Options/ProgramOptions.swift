/// What the program is asked to do.
package struct ProgramOptions: Sendable, Hashable {
  /// Where messages come from.
  package var source: Source
  /// Where they are stored.
  package var target: Target
  /// The most messages in a batch, which is one transaction; a single request with more stays in one.
  package var batchSize: Int
  /// The longest that the first message of a batch waits for others.
  ///
  /// With zero it waits only while the store is busy with the batch before.
  package var linger: Duration
  /// Batches that are stored at once.
  package var concurrency: Int
  /// The most messages held: taken from a client and not stored yet.
  package var capacity: Int
  /// The longest that storing what is held may take at the end; `nil` for as long as it takes.
  package var drainTimeout: Duration?
  /// The largest body of a request, and the longest line of standard input, in bytes.
  package var maximumBody: Int

  /// Makes options; each that is left out has its default.
  package init(
    source: Source = .http(host: "127.0.0.1", port: 8080),
    target: Target = .sqlite(path: "messages.db"),
    batchSize: Int = 500,
    linger: Duration = .zero,
    concurrency: Int = 1,
    capacity: Int = 100_000,
    drainTimeout: Duration? = nil,
    maximumBody: Int = 4 << 20
  ) {
    self.source = source
    self.target = target
    self.batchSize = batchSize
    self.linger = linger
    self.concurrency = concurrency
    self.capacity = capacity
    self.drainTimeout = drainTimeout
    self.maximumBody = maximumBody
  }
}
