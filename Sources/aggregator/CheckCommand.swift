import AggregatorService
import ArgumentParser
import Foundation

/// `aggregator check`: everything that is wrong, or what is in force.
struct CheckCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "check",
    abstract: "Reads the configuration; tells all that is wrong, or what is in force.",
    usage: "aggregator check [OPTIONS]",
    discussion: """
      Takes the options that aggregator takes, reads the environment and the file as it would, and opens the files of tokens \
      and certificates. Nothing is started or changed. Secrets are not shown.

      Exit status: 0 it would be used as shown; 1 something is wrong.
      """
  )

  @Argument(parsing: .captureForPassthrough, help: "The options, as aggregator takes them.")
  var options: [String] = []

  func run() async throws {
    if options.contains(where: { $0 == "--help" || $0 == "-h" }) {
      return print(AggregatorCommand.helpMessage(for: Self.self))
    }
    let loader = OptionsLoader(arguments: options, environment: ProcessInfo.processInfo.environment)
    let check = OptionsCheck(await loader.load())
    for problem in check.problems { complain(problem) }
    for warning in check.warnings { complain("warning: \(warning)") }
    if !check.problems.isEmpty {
      throw ArgumentParser.ExitCode(AggregatorService.ExitCode.failure.status)
    }
    print(check.report)
  }
}
