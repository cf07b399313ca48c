import AggregatorService
import AggregatorStorage
import ArgumentParser
import CoreMetrics
import Foundation
import Logging

/// The command without a subcommand: takes messages and stores them.
enum Serving {
  /// Runs, and ends the process with its exit status.
  static func run(_ arguments: [String]) async -> Never {
    let loader = OptionsLoader(arguments: arguments, environment: ProcessInfo.processInfo.environment)
    let loaded = await loader.load()
    if !loaded.problems.isEmpty {
      if let word = arguments.first, let meant = AggregatorCommand.subcommand(near: word) {
        complain("'\(word)' is no subcommand; did you mean \(meant)?")
        exit(EX_USAGE)
      }
      for problem in loaded.problems { complain("\(problem)") }
      if loaded.isMisuse { complain("aggregator --help tells all options") }
      exit(loaded.isMisuse ? EX_USAGE : AggregatorService.ExitCode.failure.status)
    }
    let level = LogLevel(loaded.options.logLevel)
    LoggingSystem.bootstrap { label in
      switch loaded.options.logFormat {
      case .text: AdjustableLogHandler(StreamLogHandler.standardError(label: label), level: level)
      case .json: AdjustableLogHandler(JSONLogHandler.standardError(label: label), level: level)
      }
    }
    // Collected only where somebody can look at them.
    let metrics = loaded.options.admin == nil ? nil : PrometheusMetrics()
    if let metrics { MetricsSystem.bootstrap(metrics) }
    let program = Program(
      options: loaded.options, loader: loader, metrics: metrics, logger: Logger(label: "aggregator"), logLevel: level)
    do {
      exit(try await program.run().status)
    } catch {
      complain("\(error)")
      exit(AggregatorService.ExitCode.failure.status)
    }
  }
}

/// Says on standard error what went wrong.
func complain(_ words: String) {
  for line in words.split(separator: "\n") {
    try? FileHandle.standardError.write(contentsOf: Data("aggregator: \(line)\n".utf8))
  }
}
