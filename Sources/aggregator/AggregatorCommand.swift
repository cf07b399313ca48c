import AggregatorService
import AggregatorStorage
import ArgumentParser
import Foundation
import Logging

@main
struct AggregatorCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "aggregator",
    abstract: "Takes messages one by one and stores them in batches.",
    discussion: """
      Clients post JSON to /v1/messages: one value, an array of values, or one value a line (application/x-ndjson). The \
      answer comes after the commit of the batch that holds them: many clients, one transaction.

        aggregator --from http://127.0.0.1:8080 --to sqlite:messages.db
        curl -H 'Content-Type: application/json' -d '{"hello":"world"}' \\
             http://127.0.0.1:8080/v1/messages
        aggregator --from stdin --to sqlite:messages.db < messages.ndjson

      Each option can be given as an environment variable too; the command line wins. The first Ctrl-C or SIGTERM stores \
      what was taken and ends; a second one ends at once.

      Exit status: 0 done; 1 it could not start; 64 wrong usage; 65 malformed lines on standard input (the others are \
      stored); 74 messages that could not be stored; 130 or 143 a signal ended standard input early (what was read is \
      stored), or a second signal ended it at once.
      """,
    version: "0.1.0"
  )

  @Option(
    help: .init(
      "Where messages come from: http://HOST:PORT or stdin. (default: http://127.0.0.1:8080, environment: AGGREGATOR_FROM)",
      valueName: "source"))
  var from: String?

  @Option(
    help: .init(
      "Where they are stored: sqlite:PATH. (default: sqlite:messages.db, environment: AGGREGATOR_TO)",
      valueName: "target"))
  var to: String?

  @Option(
    help: .init(
      "The most messages in a batch, which is one transaction. (default: 500, environment: AGGREGATOR_BATCH_SIZE)",
      valueName: "count"))
  var batchSize: String?

  @Option(
    help: .init(
      """
      The longest that the first message of a batch waits for others: a number with us, ms, s, m or h. \
      (default: 0ms, only while the store is busy; environment: AGGREGATOR_LINGER)
      """, valueName: "time"))
  var linger: String?

  @Option(
    help: .init(
      """
      Batches that are stored at once; with 1 messages are stored in the order in which they came. \
      (default: 1, environment: AGGREGATOR_CONCURRENCY)
      """, valueName: "count"))
  var concurrency: String?

  @Option(
    help: .init(
      """
      The most messages held, taken and not yet stored; more are answered 503. \
      (default: 100000, environment: AGGREGATOR_CAPACITY)
      """, valueName: "count"))
  var capacity: String?

  @Option(
    help: .init(
      """
      The longest that storing what is held may take at the end. \
      (default: as long as it takes, environment: AGGREGATOR_DRAIN_TIMEOUT)
      """, valueName: "time"))
  var drainTimeout: String?

  @Option(
    help: .init(
      """
      The largest body of a request, and the longest line of standard input: bytes, or a number with KiB, MiB or GiB. \
      (default: 4MiB, environment: AGGREGATOR_MAX_BODY)
      """, valueName: "size"))
  var maxBody: String?

  @Option(
    help: .init(
      """
      What is logged on standard error: trace, debug, info, notice, warning, error or critical. \
      (default: warning, environment: AGGREGATOR_LOG_LEVEL)
      """, valueName: "level"))
  var logLevel: String?

  func run() async throws {
    do {
      let (options, level) = try resolve()
      LoggingSystem.bootstrap(StreamLogHandler.standardError)
      var logger = Logger(label: "aggregator")
      logger.logLevel = level
      let code = try await Program(options: options, logger: logger).run()
      if code.status != 0 { throw ArgumentParser.ExitCode(code.status) }
    } catch let error as UsageError {
      throw ValidationError(error.description)
    } catch let error as ArgumentParser.ExitCode {
      throw error
    } catch {
      try? FileHandle.standardError.write(contentsOf: Data("aggregator: \(error)\n".utf8))
      throw ArgumentParser.ExitCode(AggregatorService.ExitCode.failure.status)
    }
  }
}

// MARK: - From the command line and the environment to options

/// A value that makes no sense, and where it came from.
struct UsageError: Error, CustomStringConvertible {
  let description: String
}

extension AggregatorCommand {
  func resolve(
    environment: [String: String] = ProcessInfo.processInfo.environment
  ) throws -> (ProgramOptions, Logger.Level) {
    var options = ProgramOptions()
    func set<Value>(
      _ name: String, _ given: String?, _ target: WritableKeyPath<ProgramOptions, Value>,
      _ parse: (String) throws -> Value
    ) throws {
      if let value = try read(name, given, environment, parse) { options[keyPath: target] = value }
    }
    try set("from", from, \.source) { try Source($0) }
    try set("to", to, \.target) { try Target($0) }
    try set("batch-size", batchSize, \.batchSize, count)
    try set("linger", linger, \.linger, Units.duration)
    try set("concurrency", concurrency, \.concurrency, count)
    try set("capacity", capacity, \.capacity, count)
    try set("drain-timeout", drainTimeout, \.drainTimeout) { try Units.duration($0) }
    try set("max-body", maxBody, \.maximumBody, Units.bytes)
    let level = try read("log-level", logLevel, environment) { text in
      guard let level = Logger.Level(rawValue: text.lowercased()) else {
        throw ProgramError("'\(text)' is no level: give trace, debug, info, notice, warning, error or critical")
      }
      return level
    }
    return (options, level ?? .warning)
  }

  private func read<Value>(
    _ name: String, _ given: String?, _ environment: [String: String], _ parse: (String) throws -> Value
  ) throws -> Value? {
    let variable = "AGGREGATOR_" + name.uppercased().replacing("-", with: "_")
    guard let text = given ?? environment[variable] else { return nil }
    do {
      return try parse(text)
    } catch {
      throw UsageError(description: "\(given == nil ? "the environment's \(variable)" : "--\(name)"): \(error)")
    }
  }

  private func count(_ text: String) throws -> Int {
    guard let number = Int(text), number >= 1 else {
      throw ProgramError("'\(text)' is no count: give a whole number, 1 or more")
    }
    return number
  }
}
