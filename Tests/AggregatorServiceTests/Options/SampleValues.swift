import Testing

@testable import AggregatorService

/// For each option two values that are neither the default nor each other, and one that is malformed with words of its error.
struct SampleValue: Sendable, CustomTestStringConvertible {
  let option: CatalogueOption
  let one: String
  let other: String
  let malformed: String
  let words: String

  var testDescription: String { option.name }

  private static let texts: [String: (String, String, String, String)] = [
    "from": ("http://127.0.0.1:1", "http://127.0.0.1:2", "ftp://x", "'ftp' is no known kind of source"),
    "to": ("sqlite:a.db", "sqlite:b.db", "mongo:x", "'mongo' is no known kind of target"),
    "stream": ("orders", "clicks", "Orders", "'Orders' is no name of a stream"),
    "key-field": ("account", "key", "", "'' is no name of a field"),
    "id-field": ("id", "key", "", "'' is no name of a field"),
    "max-streams": ("7", "8", "0", "'0' is no count: give a whole number, 1 to 100000"),
    "batch-size": ("7", "8", "1e3", "'1e3' is no count: give a whole number, 1 to 1000000"),
    "linger": ("7ms", "8ms", "7", "'7' has no unit: give 7ms"),
    "concurrency": ("7", "8", "-1", "'-1' is no count: give a whole number, 1 to 1024"),
    "capacity": ("7000", "8000", "7k", "'7k' is no count"),
    "drain-timeout": ("7s", "8s", "2d", "'d' in '2d' is no unit of time"),
    "store-timeout": ("7s", "8s", "0", "'0' is out of range: give 1ms to 24h"),
    "max-attempts": ("7", "8", "1001", "'1001' is no count: give a whole number, 1 to 1000"),
    "initial-backoff": ("7ms", "8ms", "soon", "'soon' is no time"),
    "max-backoff": ("7s", "8s", "2h", "'2h' is out of range: give 1ms to 1h"),
    "journal": ("a.journal", "b.journal", "", "'' is no path"),
    "max-journal": ("7MiB", "8MiB", "1", "'1' is out of range: give 1MiB to 16TiB"),
    "answer-timeout": ("7s", "8s", "-7s", "'-7s' is no time"),
    "dead-letters": ("a.letters", "b.letters", "", "'' is no path"),
    "tokens": ("a.tokens", "b.tokens", "", "'' is no path"),
    "allow-anonymous": ("true", "yes", "maybe", "'maybe' is neither true nor false"),
    "tls-certificate": ("/dev/null", "/dev/zero", "", "'' is no path"),
    "tls-key": ("/dev/null", "/dev/zero", "", "'' is no path"),
    "max-body": ("7KiB", "8KiB", "4MB", "'4MB' is no size"),
    "max-inflated-body": ("7KiB", "8KiB", "17GiB", "'17GiB' is out of range: give 1 byte to 16GiB"),
    "max-message": ("7KiB", "8KiB", "0", "'0' is out of range"),
    "max-connections": ("7", "8", "many", "'many' is no count"),
    "header-timeout": ("7s", "8s", "", "'' is no time"),
    "body-timeout": ("7s", "8s", "1", "'1' has no unit"),
    "admin": ("http://127.0.0.1:3", "none", "https://127.0.0.1:3", "is no address of plain HTTP"),
    "log-level": (
      "debug", "info", "loud", "'loud' is no level: give trace, debug, info, notice, warning, error or critical"
    ),
    "log-format": ("json", "JSON", "xml", "'xml' is no format: give text or json"),
    "rotate-size": ("7MiB", "8MiB", "1", "'1' is out of range: give 1KiB to 1TiB"),
    "rotate-time": ("7m", "8m", "1ms", "'1ms' is out of range: give 1s to 8760h"),
    "gzip": ("true", "yes", "1", "'1' is neither true nor false"),
  ]

  /// All options but `config`, which is about the file itself.
  static let all: [SampleValue] = OptionCatalogue.all.compactMap { option in
    texts[option.name].map { SampleValue(option: option, one: $0.0, other: $0.1, malformed: $0.2, words: $0.3) }
  }
}
