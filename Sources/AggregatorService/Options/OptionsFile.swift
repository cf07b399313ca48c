import AggregatorStorage
import Configuration
import Synchronization

/// The keys of a file, in the order in which the parser met them.
final class FileKeys: Sendable {
  private let keys = Mutex<[String]>([])

  var all: [String] { keys.withLock { $0 } }

  func append(_ key: String) { keys.withLock { $0.append(key) } }
}

/// YAML as swift-configuration reads it, but for two things: what is only comments is empty and no error, and the keys
/// are told, so that unknown ones can be refused.
struct OptionsFile: FileConfigSnapshot {
  struct ParsingOptions: FileParsingOptions {
    var keys = FileKeys()

    static var `default`: Self { Self() }
  }

  private let yaml: YAMLSnapshot?
  let providerName: String

  init(data: RawSpan, providerName: String, parsingOptions: ParsingOptions) throws {
    self.providerName = providerName
    let text = data.withUnsafeBytes { String(validating: $0, as: UTF8.self) }
    guard let text else { throw ProgramError("it is not UTF-8") }
    let isEmpty = text.split(whereSeparator: \.isNewline).allSatisfy { line in
      let line = line.drop { $0 == " " || $0 == "\t" }
      return line.isEmpty || line.hasPrefix("#")
    }
    guard !isEmpty else {
      yaml = nil
      return
    }
    let keys = parsingOptions.keys
    // The parser asks for each key whether it is secret, and has no other way to tell which there are.
    let specifier = SecretsSpecifier<String, Void>.dynamic { key, _ in
      keys.append(key)
      return false
    }
    do {
      yaml = try YAMLSnapshot(
        data: data, providerName: providerName, parsingOptions: .init(secretsSpecifier: specifier))
    } catch {
      throw ProgramError(Self.words(of: error))
    }
  }

  /// What is wrong and where, without what follows: a part of the file, which may have a password in it.
  private static func words(of error: any Error) -> String {
    let lines = "\(error)".split(whereSeparator: \.isNewline)
    guard let first = lines.first else { return "it is no YAML" }
    // Of two lines the second one ends with a colon, and then the file is quoted.
    if first.hasSuffix(":") { return String(first.dropLast()) }
    guard lines.count > 1, lines[1].hasSuffix(":"), lines[1] != "Context:" else { return String(first) }
    return "\(first): \(lines[1].drop { $0 == " " }.dropLast())"
  }

  func value(forKey key: AbsoluteConfigKey, type: ConfigType) throws -> LookupResult {
    try yaml?.value(forKey: key, type: type) ?? LookupResult(encodedKey: key.description, value: nil)
  }

  // Without values: they may be secret.
  var description: String { providerName }
  var debugDescription: String { providerName }
}
