import AggregatorService
import ArgumentParser

/// `aggregator reference`: the page docs/configuration.md.
struct ReferenceCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "reference", abstract: "Prints the reference page of all options, Markdown.", shouldDisplay: false)

  func run() {
    print(OptionCatalogue.reference, terminator: "")
  }
}
