package import AggregatorStorage
package import Logging
import Synchronization

/// A distributed log that the program was built with: JetStream, Kafka.
///
/// Each needs a C library, so each is a module of its own that only the executable knows, and registers at its start.
package struct LogEngine: Sendable {
  /// The schemes of its URLs.
  package let schemes: [String]
  /// What `--from` wants, as an example.
  package let form: String
  /// Opens a place to write to.
  package let sink: @Sendable (_ url: String, ProgramOptions, Logger) throws -> any Sink
  /// Opens a member that reads.
  package let consumer: @Sendable (_ url: String, ProgramOptions, Logger) throws -> any LogConsumer

  /// Makes an engine.
  package init(
    schemes: [String], form: String,
    sink: @escaping @Sendable (_ url: String, ProgramOptions, Logger) throws -> any Sink,
    consumer: @escaping @Sendable (_ url: String, ProgramOptions, Logger) throws -> any LogConsumer
  ) {
    self.schemes = schemes
    self.form = form
    self.sink = sink
    self.consumer = consumer
  }
}

/// The logs that this program was built with.
package enum LogEngines {
  private static let engines = Mutex<[String: LogEngine]>([:])

  /// The schemes of those that there can be, and the switch that builds each.
  private static let known = ["nats": "nats", "tls": "nats", "kafka": "kafka"]

  /// Makes an engine known.
  package static func register(_ engine: LogEngine) {
    engines.withLock { engines in
      for scheme in engine.schemes { engines[scheme] = engine }
    }
  }

  /// Whether a scheme is that of a log, built in or not.
  static func isLog(_ scheme: some StringProtocol) -> Bool { known[String(scheme)] != nil }

  /// The engine for a URL.
  ///
  /// - Throws: ``ProgramError`` that says how to build the program with it.
  static func engine(for url: String) throws(ProgramError) -> LogEngine {
    let scheme = String(url.prefix { $0 != ":" })
    if let engine = engines.withLock({ $0[scheme] }) { return engine }
    let name = known[scheme] ?? scheme
    throw ProgramError(
      "this program was built without \(name): build it with ENGINES=\(name) swift build -c release --product aggregator"
    )
  }
}
