/// What a command line says: `--name value`, `--name=value`, and `--name` for what is on or off.
///
/// Read here, because the provider of swift-configuration cuts values at commas, which paths and URIs may have.
struct CommandLineOptions: Sendable {
  /// Values by the options' names; of several the last one counts.
  private(set) var values: [String: String] = [:]
  private(set) var problems: [OptionProblem] = []

  init(_ arguments: [String]) {
    var rest = arguments[...]
    while let argument = rest.popFirst() {
      guard argument.hasPrefix("--"), argument.count > 2 else {
        problems.append(.misuse("'\(argument)' is no option: options begin with --, such as --to TARGET"))
        continue
      }
      let parts = argument.dropFirst(2).split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      let name = String(parts[0])
      guard let option = OptionCatalogue.byName[name] else {
        problems.append(.misuse(Self.unknown(name)))
        // Its value, if it has one, is no option that is missing its dashes.
        if parts.count == 1, let next = rest.first, !next.hasPrefix("--") { rest.removeFirst() }
        continue
      }
      if parts.count == 2 {
        values[name] = String(parts[1])
      } else if option.placeholder == nil {
        values[name] = "true"
      } else if let next = rest.first, !next.hasPrefix("--") {
        values[name] = next
        rest.removeFirst()
      } else {
        problems.append(.misuse("--\(name) needs a value: \(option.allowed)"))
      }
    }
  }

  private static func unknown(_ name: String) -> String {
    guard let near = Suggestion.nearest(to: name, among: OptionCatalogue.byName.keys) else {
      return "--\(name) is no option"
    }
    return "--\(name) is no option; did you mean --\(near)?"
  }
}
