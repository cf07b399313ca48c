package import AggregatorStorage

/// Where messages are stored: what `--to` names.
package enum Target: Sendable, Hashable, CustomStringConvertible {
  /// A SQLite database in this file.
  case sqlite(path: String)

  /// Reads `sqlite:PATH`.
  package init(_ text: String) throws(ProgramError) {
    guard let colon = text.firstIndex(of: ":") else {
      throw ProgramError("'\(text)' is no target: give sqlite:PATH, such as sqlite:messages.db")
    }
    let scheme = text[..<colon]
    guard scheme == "sqlite" else {
      throw ProgramError("'\(scheme)' is no known kind of target: give sqlite:PATH, such as sqlite:messages.db")
    }
    var path = text[text.index(after: colon)...]
    if path.hasPrefix("//") { path = path.dropFirst(2) }
    guard !path.isEmpty else {
      throw ProgramError("'\(text)' names no file: give sqlite:PATH, such as sqlite:messages.db")
    }
    guard path != ":memory:" else {
      throw ProgramError("'\(text)' would be gone when the program ends: give the path of a file, sqlite:PATH")
    }
    self = .sqlite(path: String(path))
  }

  /// As `--to` takes it.
  package var description: String {
    switch self {
    case .sqlite(let path): "sqlite:\(path)"
    }
  }
}
