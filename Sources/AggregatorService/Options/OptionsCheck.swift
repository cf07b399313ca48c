import AggregatorStorage
import Foundation

/// What `aggregator check` finds, without starting or changing anything.
package struct OptionsCheck: Sendable {
  /// Everything that is wrong.
  package let problems: [String]
  /// What can be used, but should be looked at.
  package let warnings: [String]
  /// The options in force, each with where its value comes from.
  package let report: String

  /// Looks at what was loaded, and opens the files of tokens and certificates, which blocks.
  package init(_ loaded: LoadedOptions) {
    var problems = loaded.problems.map(\.description)
    var warnings: [String] = []
    var notes: [String] = []
    let options = loaded.options
    if let path = options.tokens {
      do {
        let names = try Tokens(path: path).names
        notes.append("'\(path)' has \(names.count == 1 ? "1 token" : "\(names.count) tokens"): \(Self.list(names))")
        if let warning = TokenStore.warning(path: path) { warnings.append(warning) }
      } catch {
        problems.append("\(Self.place("tokens", loaded)): \(error)")
      }
    }
    // Files that cannot be read are told already.
    if loaded.problems.isEmpty, let certificate = options.certificate, let key = options.privateKey {
      do {
        _ = try TLSFiles.configuration(certificate: certificate, key: key)
        notes.append("'\(certificate)' and '\(key)' belong together")
      } catch {
        problems.append("\(error)")
      }
    }
    self.problems = problems
    self.warnings = warnings
    report = (OptionCatalogue.all.map { Self.line($0, loaded) } + notes).joined(separator: "\n")
  }

  private static func line(_ option: CatalogueOption, _ loaded: LoadedOptions) -> String {
    func padded(_ text: String, _ width: Int) -> String {
      text + String(repeating: " ", count: max(width - text.count, 0))
    }
    return "\(padded(option.name, 18)) \(padded(option.show(loaded.options), 28)) (\(loaded.origin(of: option).name))"
  }

  private static func place(_ name: String, _ loaded: LoadedOptions) -> String {
    OptionCatalogue.byName[name].map { loaded.origin(of: $0).place(of: $0) } ?? name
  }

  private static func list(_ names: [String]) -> String {
    let shown = names.prefix(10).joined(separator: ", ")
    return names.count > 10 ? "\(shown), …" : shown
  }
}
