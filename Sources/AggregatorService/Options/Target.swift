package import AggregatorStorage
import Foundation

/// Where messages are stored: what `--to` names.
package enum Target: Sendable, Hashable, CustomStringConvertible {
  /// A SQLite database in this file.
  case sqlite(path: String)
  /// A PostgreSQL database: a URI as libpq takes it, which may hold a password.
  case postgres(uri: String)
  /// A server that takes NDJSON by POST; `{stream}` in the URL stands for the stream's name. It may hold a password.
  case http(url: String)
  /// NDJSON files in this folder.
  case files(folder: String)
  /// A distributed log, by the URL that its engine understands, which may hold a password.
  case log(url: String)
  /// Standard output, one message a line.
  case standardOutput

  package static let kinds =
    "sqlite:PATH, postgres://USER@HOST/DATABASE, http(s)://HOST/PATH, file:FOLDER, stdout, "
    + "nats://HOST/STREAM or kafka://BROKER/TOPIC"

  /// Reads what ``kinds`` lists.
  package init(_ text: String) throws(ProgramError) {
    if text == "stdout" || text == "-" {
      self = .standardOutput
      return
    }
    guard let colon = text.firstIndex(of: ":") else {
      // What has an '@' may be the end of something with a password.
      throw ProgramError("\(text.contains("@") ? "this" : "'\(text)'") is no target: give \(Self.kinds)")
    }
    let scheme = text[..<colon]
    var rest = text[text.index(after: colon)...]
    switch scheme {
    case "sqlite":
      if rest.hasPrefix("//") { rest = rest.dropFirst(2) }
      guard !rest.isEmpty else {
        throw ProgramError("'\(text)' names no file: give sqlite:PATH, such as sqlite:messages.db")
      }
      guard rest != ":memory:" else {
        throw ProgramError("'\(text)' would be gone when the program ends: give the path of a file, sqlite:PATH")
      }
      self = .sqlite(path: String(rest))
    case "file":
      if rest.hasPrefix("//") { rest = rest.dropFirst(2) }
      guard !rest.isEmpty else { throw ProgramError("'\(text)' names no folder: give file:FOLDER") }
      self = .files(folder: String(rest))
    case "postgres", "postgresql":
      guard rest.hasPrefix("//"), rest.count > 2 else {
        throw ProgramError("this names no server: give postgres://USER@HOST/DATABASE")
      }
      self = .postgres(uri: text)
    case "http", "https":
      guard rest.hasPrefix("//"), rest.count > 2, rest.dropFirst(2).first != "/" else {
        throw ProgramError("this names no server: give \(scheme)://HOST/PATH")
      }
      self = .http(url: text)
    case _ where LogEngines.isLog(scheme):
      self = .log(url: text)
    default: throw ProgramError("'\(scheme)' is no known kind of target: give \(Self.kinds)")
    }
  }

  /// As `--to` takes it, without user, password and parameters, so that it can be shown and logged.
  package var description: String {
    switch self {
    case .sqlite(let path): "sqlite:\(path)"
    case .postgres(let uri), .http(let uri), .log(let uri): Self.withoutSecrets(uri)
    case .files(let folder): "file:\(folder)"
    case .standardOutput: "stdout"
    }
  }

  /// A URL without user, password, parameters and fragment.
  static func withoutSecrets(_ uri: String) -> String {
    guard let slashes = uri.range(of: "://") else { return String(uri.prefix { $0 != ":" }) }
    let scheme = uri[..<slashes.upperBound]
    let rest = uri[slashes.upperBound...]
    let bare = rest.prefix { $0 != "?" && $0 != "#" }
    let authority = bare.prefix { $0 != "/" }
    if let at = authority.lastIndex(of: "@") { return "\(scheme)\(bare[bare.index(after: at)...])" }
    // An '@' further behind may belong to the path, or to a password with a '/', '?' or '#' that should have been encoded.
    return rest.contains("@") ? "\(scheme)…" : "\(scheme)\(bare)"
  }
}
