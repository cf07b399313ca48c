import AggregatorStorage
import Logging

/// Everything that the program can be told: the only place where an option's name, default, range and meaning are written.
///
/// The help page, the reference page, reading, checking and reloading are made from it.
package enum OptionCatalogue {
  /// What the names of all variables begin with.
  package static let variablePrefix = "AGGREGATOR_"

  /// All options, in the order of ``OptionSection``.
  package static let all: [CatalogueOption] = [ways, batches, failures, kept, safety, limits, seen, files, [file]]
    .flatMap(\.self)

  /// By their names.
  package static let byName = Dictionary(uniqueKeysWithValues: all.map { ($0.name, $0) })

  /// Names the file; it cannot be in the file itself.
  package static let file = CatalogueOption(
    "config", \.file, orNone: .path, in: .itself,
    """
    A YAML file with options: a key for each, named as on the command line without the dashes. It is read again on SIGHUP.
    """)

  private static let ways = [
    CatalogueOption(
      "from", \.source, .source, in: .ways,
      """
      Where messages come from: an HTTP server on this address (port 0 takes a free one, which is printed), the same over \
      TLS, or standard input with one JSON value a line.
      """),
    CatalogueOption(
      "to", \.target, .target, in: .ways,
      """
      Where messages are stored. For postgres://, what libpq takes; for http(s)://, {stream} stands for the stream's name. A \
      password in it is never shown or logged, but others see the command line: give it by the environment or the file.
      """),
    CatalogueOption(
      "stream", \.stream, .stream, in: .ways,
      "The stream of messages that name none: those posted to /v1/messages, and those of standard input."),
    CatalogueOption(
      "id-field", \.identityField, orNone: .field, in: .ways,
      """
      The field of a message, at its top level, that is its identity: a message with an identity that is stored already is \
      not stored again. With none only Idempotency-Key does that.
      """),
    CatalogueOption(
      "key-field", \.keyField, orNone: .field, in: .ways,
      """
      Only for kafka://: the field of a message, at its top level, that is its key; those of one key keep their order. With \
      none the key is the stream's name.
      """),
    CatalogueOption(
      "max-streams", \.maximumStreams, .count(1...100_000), in: .ways,
      "The most streams; messages for more are refused. Each stream has its own batches, and its own table or file."),
  ]

  private static let batches = [
    CatalogueOption(
      "batch-size", \.batchSize, .count(1...1_000_000), in: .batches, isReloadable: true,
      "The most messages in a batch, which is one transaction, file write or request."),
    CatalogueOption(
      "linger", \.linger, .time(.zero ... .seconds(86_400)), in: .batches, isReloadable: true,
      """
      The longest that the first message of a batch waits for others. With 0 it waits only while all slots are busy with \
      batches before it.
      """),
    CatalogueOption(
      "concurrency", \.concurrency, .count(1...1_024), in: .batches, isReloadable: true,
      """
      Batches that are stored at once; with 1 messages are stored in the order in which they came. SQLite has one writer, so \
      more does not help it.
      """),
    CatalogueOption(
      "capacity", \.capacity, .count(1...100_000_000), in: .batches, isReloadable: true,
      "The most messages held in memory, taken and not yet stored; more are answered 503. At least batch-size."),
    CatalogueOption(
      "drain-timeout", \.drainTimeout, orNone: .time(.zero ... .seconds(86_400)), in: .batches,
      "The longest that storing what is held may take at the end; with none, as long as it takes."),
  ]

  private static let failures = [
    CatalogueOption(
      "store-timeout", \.storeTimeout, orNone: .time(.milliseconds(1) ... .seconds(86_400)), in: .failures,
      "The longest that storing one batch may take before it is cancelled and tried again."),
    CatalogueOption(
      "max-attempts", \.maximumAttempts, .count(1...1_000), in: .failures,
      "How often a batch is tried while clients wait for the answer; then they are answered 503."),
    CatalogueOption(
      "initial-backoff", \.initialBackoff, .time(.milliseconds(1) ... .seconds(3_600)), in: .failures,
      "The bound of the first wait between two attempts; it doubles with each."),
    CatalogueOption(
      "max-backoff", \.maximumBackoff, .time(.milliseconds(1) ... .seconds(3_600)), in: .failures,
      "The bound of all waits between attempts. At least initial-backoff."),
  ]

  private static let kept = [
    CatalogueOption(
      "journal", \.journal, orNone: .path, in: .kept,
      """
      A file, made if it is missing, in which accepted messages are kept until they are stored. With it, Prefer: \
      respond-async is answered 202, and a target that is down for hours loses nothing.
      """),
    CatalogueOption(
      "max-journal", \.maximumJournal, .size((1 << 20)...(1 << 44)), in: .kept,
      "The most bytes of messages in the journal; beyond, requests are answered 503. At least max-body."),
    CatalogueOption(
      "answer-timeout", \.answerTimeout, .time(.milliseconds(1) ... .seconds(3_600)), in: .kept,
      "How long a client waits for the commit, where there is a journal, before it is told 202 instead of 200."),
    CatalogueOption(
      "dead-letters", \.deadLetters, orNone: .path, in: .kept,
      """
      The file for messages that the target refuses for good. With none they are kept in the journal's file, and where there \
      is no journal they are refused to their clients and not kept.
      """),
  ]

  private static let safety = [
    CatalogueOption(
      "tokens", \.tokens, orNone: .path, in: .safety, isReloadable: true,
      """
      The file with the digests of the bearer tokens that may send (see `aggregator token --help`). With none everybody \
      who reaches the address may.
      """),
    CatalogueOption(
      "allow-anonymous", \.allowsAnonymous, .flag, in: .safety,
      "Whether to listen on other addresses than loopback without tokens."),
    CatalogueOption(
      "tls-certificate", \.certificate, orNone: .path, in: .safety,
      "The certificate chain for https, a PEM file, the server's own first."),
    CatalogueOption(
      "tls-key", \.privateKey, orNone: .path, in: .safety,
      "The private key that belongs to the certificate, a PEM file without a passphrase."),
  ]

  private static let limits = [
    CatalogueOption(
      "max-body", \.maximumBody, .size(1...(16 << 30)), in: .limits,
      """
      The largest body of a request as it is sent, and the longest line of standard input. A larger body of NDJSON is stored \
      in parts.
      """),
    CatalogueOption(
      "max-inflated-body", \.maximumInflatedBody, .size(1...(16 << 30)), in: .limits,
      "The largest body of a request once it is inflated (Content-Encoding: gzip or deflate)."),
    CatalogueOption(
      "max-message", \.maximumMessage, .size(1...(1 << 30)), in: .limits, "The largest message."),
    CatalogueOption(
      "max-connections", \.maximumConnections, .count(1...1_000_000), in: .limits,
      "The most connections of clients at once. Each needs a file descriptor (ulimit -n)."),
    CatalogueOption(
      "header-timeout", \.headerTimeout, .time(.milliseconds(1) ... .seconds(3_600)), in: .limits,
      "The longest that the head of a request may take to come whole; then the connection is cut."),
    CatalogueOption(
      "body-timeout", \.bodyTimeout, .time(.milliseconds(1) ... .seconds(86_400)), in: .limits,
      "The longest that a body, or each max-body bytes of one, may take to come whole; then the connection is cut."),
  ]

  private static let seen = [
    CatalogueOption(
      "admin", \.admin, orNone: .address, in: .seen,
      """
      The operator's own address: the page, metrics, health and flush. Tokens do not protect it: keep it on loopback or a \
      network that you trust.
      """),
    CatalogueOption(
      "log-level", \.logLevel, .choice("level"), in: .seen, isReloadable: true,
      "The least that is logged on standard error, never with a message's contents."),
    CatalogueOption(
      "log-format", \.logFormat, .choice("format"), in: .seen,
      "How log lines look: text for people, or json, one object a line."),
  ]

  private static let files = [
    CatalogueOption(
      "rotate-size", \.rotationSize, .size((1 << 10)...(1 << 40)), in: .files,
      "A file is closed, and the next one begun, when it has so many bytes."),
    CatalogueOption(
      "rotate-time", \.rotationTime, .time(.seconds(1) ... .seconds(31_536_000)), in: .files,
      "A file is closed, and the next one begun, when it is so old."),
    CatalogueOption("gzip", \.compressesFiles, .flag, in: .files, "Whether the files are compressed."),
  ]
}
