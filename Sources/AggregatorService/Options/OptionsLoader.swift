import AggregatorStorage
import Configuration
import Foundation
import Synchronization

/// What was asked of the program, and where each part of it was said.
package struct LoadedOptions: Sendable {
  package var options = ProgramOptions()
  /// Where the values come from that were given; the others are defaults.
  package var origins: [String: OptionOrigin] = [:]
  /// What is wrong; the options must not be used when there is anything.
  package var problems: [OptionProblem] = []
  /// Options whose values were malformed.
  var unread: Set<String> = []

  /// Whether something that was written makes no sense by itself.
  package var isMisuse: Bool { problems.contains(where: \.isMisuse) }

  /// Where the option's value comes from.
  package func origin(of option: CatalogueOption) -> OptionOrigin { origins[option.name] ?? .standard }
}

/// Reads the options: from the command line, else from the environment, else from the file, else the default.
///
/// It can be asked again and again; only the file can have changed then.
package struct OptionsLoader: Sendable {
  private let commandLine: CommandLineOptions
  private let environment: [String: String]

  /// Reads these arguments, without the program's own name and a subcommand's, and this environment.
  package init(arguments: [String], environment: [String: String]) {
    commandLine = CommandLineOptions(arguments)
    self.environment = environment.filter { $0.key.hasPrefix(OptionCatalogue.variablePrefix) }
  }

  /// Reads everything, and checks each value by itself, their names, and what they make together.
  package func load() async -> LoadedOptions {
    var loaded = LoadedOptions()
    loaded.problems = commandLine.problems + unknownVariables()
    var providers: [(OptionOrigin, any ConfigProvider)] = [
      (.commandLine, Self.provider(commandLine.values)),
      (.environment, EnvironmentVariablesProvider(environmentVariables: environment).prefixKeys(with: "aggregator")),
    ]
    await Self.read([OptionCatalogue.file], from: providers, into: &loaded)
    if let path = loaded.options.file, let file = await Self.open(path, &loaded.problems) {
      providers.append((.file(path: path), file))
    }
    await Self.read(OptionCatalogue.all.filter { $0.name != OptionCatalogue.file.name }, from: providers, into: &loaded)
    // An option that could not be read still has its default, which says nothing about the others.
    let unread = loaded.unread
    loaded.problems += loaded.options.conflicts.filter { $0.options.isDisjoint(with: unread) }.map {
      .failure($0.description)
    }
    return loaded
  }

  private static func read(
    _ options: [CatalogueOption], from providers: [(origin: OptionOrigin, any ConfigProvider)],
    into loaded: inout LoadedOptions
  ) async {
    let witness = Witness()
    let reader = ConfigReader(providers: providers.map(\.1), accessReporter: witness)
    for option in options {
      do {
        // `fetch` throws where `get` takes the default for a value that is malformed.
        guard let text = try await reader.fetchString(forKey: ConfigKey(option.name), isSecret: true) else { continue }
        let origin = providers[witness.provider].origin
        do {
          try option.read(text, &loaded.options)
          loaded.origins[option.name] = origin
        } catch {
          loaded.unread.insert(option.name)
          loaded.problems.append(.misuse("\(origin.place(of: option)): \(error)"))
        }
      } catch {
        // Of the three only the file has other values than texts.
        loaded.unread.insert(option.name)
        let place = providers[witness.provider].origin.place(of: option)
        loaded.problems.append(.misuse("\(place) is a list: give one value, \(option.allowed)"))
      }
    }
  }

  private static func provider(_ values: [String: String]) -> InMemoryProvider {
    var content: [AbsoluteConfigKey: ConfigValue] = [:]
    for (name, value) in values { content[AbsoluteConfigKey([name])] = ConfigValue(.string(value), isSecret: true) }
    return InMemoryProvider(name: "command line", values: content)
  }

  // MARK: The environment

  private func unknownVariables() -> [OptionProblem] {
    let known = OptionCatalogue.all.map(\.variable)
    return environment.keys.sorted().filter { !known.contains($0) && !Self.isOfKubernetes($0) }.map { name in
      // By what differs: with the prefix all names would be near each other.
      let prefix = OptionCatalogue.variablePrefix
      let near = Suggestion.nearest(
        to: String(name.dropFirst(prefix.count)), among: known.map { String($0.dropFirst(prefix.count)) })
      return .misuse("the environment's \(name) is no option\(near.map { "; did you mean \(prefix)\($0)?" } ?? "")")
    }
  }

  /// Kubernetes tells each pod the addresses of services by variables; those of one called `aggregator` look like ours.
  private static func isOfKubernetes(_ name: String) -> Bool {
    name.wholeMatch(of: /AGGREGATOR_(SERVICE_(HOST|PORT(_.+)?)|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)/) != nil
  }

  // MARK: The file

  /// Returns `nil` when it cannot be read at all.
  private static func open(_ path: String, _ problems: inout [OptionProblem]) async -> (any ConfigProvider)? {
    let parsing = OptionsFile.ParsingOptions()
    do {
      let file = try await FileProvider<OptionsFile>(
        parsingOptions: parsing, config: ConfigReader(provider: provider(["filePath": path])))
      problems += parsing.keys.all.compactMap { unknownKey($0, in: path) }
      return file
    } catch let error as ProgramError {
      problems.append(.misuse("the file '\(path)' cannot be understood: \(error)"))
    } catch {
      let isThere = FileManager.default.fileExists(atPath: path)
      let words = "the file '\(path)' cannot be read: it has to be a file that this user may read"
      problems.append(.failure(isThere ? words : "there is no file '\(path)'"))
    }
    return nil
  }

  private static func unknownKey(_ key: String, in path: String) -> OptionProblem? {
    guard key != OptionCatalogue.file.name else {
      return .misuse("'\(key)' in the file '\(path)' cannot be there: name the file by --config or the environment")
    }
    if OptionCatalogue.byName[key] != nil { return nil }
    if let name = key.split(separator: ".").last.map(String.init), name != key, OptionCatalogue.byName[name] != nil {
      return .misuse("'\(key)' in the file '\(path)' is no option; write '\(name)' at the left margin")
    }
    let near = Suggestion.nearest(to: key, among: OptionCatalogue.byName.keys).map { "; did you mean '\($0)'?" } ?? ""
    return .misuse("'\(key)' in the file '\(path)' is no option\(near)")
  }
}

/// Sees which provider gave an answer: they are asked one after the other, and the last one asked is the one.
private final class Witness: AccessReporter {
  private let last = Atomic(0)

  var provider: Int { last.load(ordering: .relaxed) }

  func report(_ event: AccessEvent) {
    last.store(event.providerResults.count - 1, ordering: .relaxed)
  }
}
