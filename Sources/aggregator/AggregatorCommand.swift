import AggregatorService
import ArgumentParser
import Foundation

/// The root, which serves when no subcommand is given.
///
/// What it is asked to do besides is in `OptionCatalogue`; ArgumentParser deals with subcommands alone.
struct AggregatorCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "aggregator",
    abstract: "Takes messages one by one and stores them in batches.",
    version: "0.1.0",
    subcommands: [CheckCommand.self, DeadLettersCommand.self, TokenCommand.self, ReferenceCommand.self]
  )

  /// The names that, as a first argument, are no option of the serving command.
  static var subcommandNames: [String] {
    configuration.subcommands.compactMap { $0.configuration.commandName } + ["help"]
  }

  /// The subcommand that somebody meant who wrote `word` as a first argument.
  static func subcommand(near word: String) -> String? {
    word.hasPrefix("-") ? nil : Suggestion.nearest(to: word, among: subcommandNames)
  }
}

@main
enum Main {
  static func main() async {
    Engines.register()
    let arguments = Array(CommandLine.arguments.dropFirst())
    if let first = arguments.first, AggregatorCommand.subcommandNames.contains(first) {
      if arguments == ["help"] { return print(HelpPage.text) }
      return await AggregatorCommand.main(arguments)
    }
    if arguments.contains(where: { $0 == "--help" || $0 == "-h" }) { return print(HelpPage.text) }
    if arguments == ["--version"] { return print(AggregatorCommand.configuration.version) }
    await Serving.run(arguments)
  }
}
