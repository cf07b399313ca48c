/// Where an option's value came from.
package enum OptionOrigin: Sendable, Hashable {
  case commandLine
  case environment
  case file(path: String)
  case standard

  /// How errors name the place of `option`.
  package func place(of option: CatalogueOption) -> String {
    switch self {
    case .commandLine: "--\(option.name)"
    case .environment: "the environment's \(option.variable)"
    case .file(let path): "'\(option.name)' in the file '\(path)'"
    case .standard: "the default of --\(option.name)"
    }
  }

  /// In a word or two.
  package var name: String {
    switch self {
    case .commandLine: "command line"
    case .environment: "environment"
    case .file(let path): path
    case .standard: "default"
    }
  }
}

/// Why the options cannot be used, in words for the operator.
package struct OptionProblem: Error, Sendable, Hashable, CustomStringConvertible {
  /// Where it is, what was wrong, and what to do.
  package let description: String
  /// Whether something that was written makes no sense by itself, rather than with the rest or with what is on the disk.
  package let isMisuse: Bool

  static func misuse(_ words: String) -> OptionProblem { OptionProblem(description: words, isMisuse: true) }
  static func failure(_ words: String) -> OptionProblem { OptionProblem(description: words, isMisuse: false) }
}
