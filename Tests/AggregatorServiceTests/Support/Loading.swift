import AggregatorTestSupport
import Foundation

@testable import AggregatorService

/// Loads options as the program does, with a file that has these contents.
func load(
  _ arguments: [String] = [], environment: [String: String] = [:], file: String? = nil
) async -> LoadedOptions {
  guard let file else { return await OptionsLoader(arguments: arguments, environment: environment).load() }
  do {
    let folder = try TemporaryFolder()
    let path = folder.file("aggregator.yaml")
    try Data(file.utf8).write(to: URL(fileURLWithPath: path))
    let loader = OptionsLoader(arguments: ["--config", path] + arguments, environment: environment)
    let loaded = await loader.load()
    // The folder goes when nobody holds it any more.
    withExtendedLifetime(folder) {}
    return loaded
  } catch {
    var loaded = LoadedOptions()
    loaded.problems = [.failure("the test cannot write its file: \(error)")]
    return loaded
  }
}

extension LoadedOptions {
  /// All problems, a line for each.
  var words: String { problems.map(\.description).joined(separator: "\n") }
}
