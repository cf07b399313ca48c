package import AggregatorStorage
package import Logging

/// What the program is asked to do.
///
/// What each is called outside, what it means and what it may be is in `OptionCatalogue`; here is what it is inside.
package struct ProgramOptions: Sendable, Hashable {
  // MARK: From where to where

  package var source = Source.http(host: "127.0.0.1", port: 8080)
  package var target = Target.sqlite(path: "messages.db")
  /// The stream of messages that name none: those of `/v1/messages`, and of standard input.
  package var stream = StreamName.messages
  /// The field of a message that is its identity; `nil` when only `Idempotency-Key` gives one.
  package var identityField: String?
  /// The field of a message that is its key in Kafka, which keeps those of one key in order; `nil` for its stream.
  package var keyField: String?
  package var maximumStreams = 100

  // MARK: Batches

  /// The most messages in a batch, which is one transaction.
  package var batchSize = 500
  /// The longest that the first message of a batch waits for others.
  ///
  /// With zero it waits only while the store is busy with the batch before.
  package var linger = Duration.zero
  /// Batches that are stored at once.
  package var concurrency = 1
  /// The most messages held in memory: taken from a client and not stored yet.
  package var capacity = 100_000
  /// The longest that storing what is held may take at the end; `nil` for as long as it takes.
  package var drainTimeout: Duration?

  // MARK: When storing fails

  /// The longest that storing one batch may take before it is cancelled and tried again.
  package var storeTimeout: Duration? = .seconds(30)
  /// How often a batch is tried while a client waits for the answer.
  package var maximumAttempts = 3
  /// The bound of the first back-off; it doubles with each.
  package var initialBackoff = Duration.milliseconds(20)
  /// The bound of all back-offs.
  package var maximumBackoff = Duration.seconds(5)

  // MARK: What is kept

  /// The journal's file; `nil` for none.
  package var journal: String?
  /// The most bytes of messages in the journal; beyond, requests are answered 503.
  package var maximumJournal = 1 << 30
  /// How long a client that wants 200 is let wait for the commit, where there is a journal, before it is told 202.
  package var answerTimeout = Duration.seconds(10)
  /// The file for dead letters; `nil` for the journal's, and for none where there is no journal.
  package var deadLetters: String?

  // MARK: Safety

  /// The file with the digests of bearer tokens; `nil` when everybody may send.
  package var tokens: String?
  /// Whether to listen on other addresses than loopback without tokens.
  package var allowsAnonymous = false
  /// PEM files for `https`.
  package var certificate: String?
  package var privateKey: String?
  /// The largest body of a request on the wire, and the longest line of standard input, in bytes.
  ///
  /// A larger NDJSON body is stored in parts of this size.
  package var maximumBody = 4 << 20
  /// The largest body of a request once it is inflated.
  package var maximumInflatedBody = 32 << 20
  /// The largest message; none is larger than `maximumBody`.
  package var maximumMessage = 1 << 20
  package var maximumConnections = 16_384
  /// The longest that the head of a request may take to come whole.
  package var headerTimeout = Duration.seconds(10)
  /// The longest that a body, or each `maximumBody` bytes of one, may take to come whole.
  package var bodyTimeout = Duration.seconds(30)

  // MARK: Seen

  /// Where operators look; `nil` for nowhere.
  package var admin: Source? = .http(host: "127.0.0.1", port: 8081)
  package var logLevel = Logger.Level.warning
  package var logFormat = LogFormat.text

  // MARK: The file sink

  /// A file is closed, and the next one begun, when it has so many bytes.
  package var rotationSize = 128 << 20
  /// A file is closed, and the next one begun, when it is so old.
  package var rotationTime = Duration.seconds(3_600)
  package var compressesFiles = false

  // MARK: Itself

  /// The file that options were read from; `nil` for none.
  package var file: String?

  /// The most bytes of a message.
  var longestMessage: Int { min(maximumMessage, maximumBody) }

  /// Makes options, each with its default.
  package init() {}
}

/// How log lines look.
package enum LogFormat: String, Sendable, Hashable, CaseIterable {
  case text, json
}
