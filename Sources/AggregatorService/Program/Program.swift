import AggregatorStorage
package import Logging

/// The program: opens the sink, takes messages from the source until it is told to stop, stores what it has taken, and says
/// in one line what it did.
package struct Program: Sendable {
  /// What it says of itself.
  package static let version = "0.1.0"

  let options: ProgramOptions
  /// Reads the options again, for SIGHUP; `nil` where nothing can be read again.
  let loader: OptionsLoader?
  /// The backend of the library's metrics, if they are collected.
  let metrics: PrometheusMetrics?
  let logger: Logger
  /// The level of the log, which SIGHUP can change.
  let logLevel: LogLevel?
  let console = Console()

  /// Makes a program that does what the options say.
  package init(
    options: ProgramOptions, loader: OptionsLoader? = nil, metrics: PrometheusMetrics? = nil, logger: Logger,
    logLevel: LogLevel? = nil
  ) {
    self.options = options
    self.loader = loader
    self.metrics = metrics
    self.logger = logger
    self.logLevel = logLevel
  }

  /// Runs until the input ends or a signal comes.
  ///
  /// The first SIGINT or SIGTERM begins an orderly end, a second one ends the process at once.
  ///
  /// - Throws: ``ProgramError`` when it cannot start.
  package func run() async throws -> ExitCode {
    try options.validate()
    OpenFiles.raiseLimit()
    let sink = try await SinkFactory.open(options, preparing: options.stream, logger: logger)
    let ledger = Ledger()
    let code: ExitCode
    do {
      code =
        switch options.source {
        case .http(let host, let port), .https(let host, let port):
          try await Server(program: self, host: host, port: port, sink: sink, ledger: ledger).run()
        case .standardInput: try await readLines(sink: sink, ledger: ledger)
        case .log(let url): try await LogMember(program: self, url: url, sink: sink, ledger: ledger).run()
        }
    } catch {
      try? await sink.close()
      throw error
    }
    do {
      try await sink.close()
    } catch {
      console.say("aggregator: closing \(options.target): \(error)")
    }
    console.say("aggregator: \(ledger.current.summary(batchSize: options.batchSize))")
    return code
  }
}
