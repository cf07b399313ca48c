package import AggregatorStorage
import Foundation

extension ProgramOptions {
  /// Throws everything that is wrong with the options together, a line for each.
  package func validate() throws(ProgramError) {
    let problems = problems
    if !problems.isEmpty { throw ProgramError(problems.joined(separator: "\n")) }
  }

  /// What is wrong with the options together: where they contradict each other, and where they would not be safe.
  package var problems: [String] { conflicts.map(\.description) }

  /// The same, with the names of the options that are in it.
  var conflicts: [OptionConflict] { sizeConflicts + pathConflicts + tlsConflicts + listeningConflicts }

  private var sizeConflicts: [OptionConflict] {
    var problems: [OptionConflict] = []
    for (name, value) in [("batch-size", batchSize), ("concurrency", concurrency), ("capacity", capacity)]
    where value < 1 {
      problems.append(.init([name], "--\(name) is \(value), but must be 1 or more"))
    }
    if capacity < batchSize {
      problems.append(
        .init(
          ["capacity", "batch-size"],
          "--capacity is \(capacity), but must be at least --batch-size (\(batchSize)), or no batch gets full"))
    }
    if maximumBackoff < initialBackoff {
      problems.append(
        .init(
          ["max-backoff", "initial-backoff"],
          "--max-backoff is \(Units.show(maximumBackoff)), but must be at least --initial-backoff "
            + "(\(Units.show(initialBackoff)))"))
    }
    if journal != nil, source.host == nil {
      problems.append(
        .init(
          ["journal", "from"],
          "--journal is for messages that come over HTTP: \(source) waits for the store by itself; leave it out, and "
            + "give --dead-letters for what the store refuses"))
    }
    if journal != nil, maximumJournal < maximumBody {
      problems.append(
        .init(
          ["max-journal", "max-body", "journal"],
          "--max-journal is \(Units.show(bytes: maximumJournal)), but must be at least --max-body "
            + "(\(Units.show(bytes: maximumBody))), or a request may find no room in an empty journal"))
    }
    return problems
  }

  private var pathConflicts: [OptionConflict] {
    var paths: [(option: String, path: String)] = []
    if case .sqlite(let path) = target { paths.append(("to", path)) }
    if let journal { paths.append(("journal", journal)) }
    if let deadLetters { paths.append(("dead-letters", deadLetters)) }
    var problems: [OptionConflict] = []
    for (index, one) in paths.enumerated() {
      for other in paths[(index + 1)...] where Self.isSameFile(one.path, other.path) {
        problems.append(
          .init(
            [one.option, other.option],
            "--\(other.option) is the same file as --\(one.option), '\(one.path)': give each a file of its own"))
      }
    }
    return problems
  }

  private static func isSameFile(_ one: String, _ other: String) -> Bool {
    func canonical(_ path: String) -> String {
      URL(fileURLWithPath: path).standardizedFileURL.resolvingSymlinksInPath().path
    }
    return canonical(one) == canonical(other)
  }

  private var tlsConflicts: [OptionConflict] {
    var problems: [OptionConflict] = []
    let isSecure = if case .https = source { true } else { false }
    for (option, path) in [("tls-certificate", certificate), ("tls-key", privateKey)] {
      if isSecure, path == nil {
        problems.append(.init(["from", option], "--from is \(source), which needs --\(option)"))
      }
      if !isSecure, path != nil {
        problems.append(
          .init(
            ["from", option], "--\(option) is given, but --from is \(source): give https://, or leave --\(option) out"))
      }
      if let path, !FileManager.default.isReadableFile(atPath: path) {
        problems.append(.init([option], "--\(option) is '\(path)', which is no file that can be read"))
      }
    }
    return problems
  }

  private var listeningConflicts: [OptionConflict] {
    var problems: [OptionConflict] = []
    if let host = source.host, !Source.isLoopback(host), tokens == nil, !allowsAnonymous {
      problems.append(
        .init(
          ["from", "tokens", "allow-anonymous"],
          "--from is \(source), where others can reach it: give --tokens, or --allow-anonymous if everybody may send"))
    }
    if let port = source.port, port != 0, port == admin?.port, source.host == admin?.host {
      problems.append(
        .init(["from", "admin"], "--admin is the address of --from: give it a port of its own, or none"))
    }
    return problems
  }
}

/// Options that do not go together.
struct OptionConflict: Sendable, CustomStringConvertible {
  /// Their names.
  let options: Set<String>
  /// What is wrong, and what to do.
  let description: String

  init(_ options: Set<String>, _ description: String) {
    self.options = options
    self.description = description
  }
}

extension Source {
  /// Where it listens; `nil` for standard input.
  package var host: String? {
    switch self {
    case .http(let host, _), .https(let host, _): host
    case .standardInput, .log: nil
    }
  }

  /// Where it listens, 0 for a free port; `nil` for standard input.
  package var port: Int? {
    switch self {
    case .http(_, let port), .https(_, let port): port
    case .standardInput, .log: nil
    }
  }

  /// The same on another port: that which was free.
  func withPort(_ port: Int) -> Source {
    switch self {
    case .http(let host, _): .http(host: host, port: port)
    case .https(let host, _): .https(host: host, port: port)
    case .standardInput, .log: self
    }
  }

  /// Whether only programs on this machine can reach the host.
  static func isLoopback(_ host: String) -> Bool {
    if ["localhost", "::1", "0:0:0:0:0:0:0:1"].contains(host.lowercased()) { return true }
    // All of 127.0.0.0/8; a name such as 127.example.org is none of it.
    let parts = host.split(separator: ".", omittingEmptySubsequences: false)
    return parts.count == 4 && parts[0] == "127" && parts.allSatisfy { UInt8($0) != nil }
  }
}
