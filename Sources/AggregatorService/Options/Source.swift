package import AggregatorStorage
import Foundation

/// Where messages come from: what `--from` names.
package enum Source: Sendable, Hashable, CustomStringConvertible {
  /// An HTTP server of our own on this address.
  case http(host: String, port: Int)
  /// The same over TLS.
  case https(host: String, port: Int)
  /// Standard input, one JSON value a line.
  case standardInput
  /// A distributed log, by the URL that its engine understands, which may hold a password.
  case log(url: String)

  /// Reads `http://HOST[:PORT]`, `https://HOST[:PORT]`, `stdin`, or the URL of a log.
  package init(_ text: String) throws(ProgramError) {
    if text == "stdin" || text == "-" {
      self = .standardInput
      return
    }
    guard let scheme = text.range(of: "://") else {
      throw ProgramError("'\(text)' is no source: give http://HOST:PORT or stdin")
    }
    if LogEngines.isLog(text[..<scheme.lowerBound]) {
      self = .log(url: text)
      return
    }
    let isSecure = text[..<scheme.lowerBound] == "https"
    guard isSecure || text[..<scheme.lowerBound] == "http" else {
      throw ProgramError(
        "'\(text[..<scheme.lowerBound])' is no known kind of source: give http://HOST:PORT, https://HOST:PORT, stdin, nats://… or kafka://…"
      )
    }
    var authority = text[scheme.upperBound...]
    if authority.hasSuffix("/") { authority.removeLast() }
    if authority.contains(where: { "/?#@".contains($0) }) {
      throw ProgramError(
        "'\(text)' says more than where to listen: give http://HOST:PORT; messages are posted to /v1/messages below it")
    }
    let (host, port) = try Self.address(authority, in: text)
    self = isSecure ? .https(host: host, port: port) : .http(host: host, port: port)
  }

  private static func address(
    _ authority: Substring, in text: String
  ) throws(ProgramError) -> (host: String, port: Int) {
    var host = authority
    var port: Substring?
    if authority.first == "[" {
      // An IPv6 address stands in brackets, because it has colons of its own.
      guard let end = authority.firstIndex(of: "]") else {
        throw ProgramError("'\(text)' has a '[' without ']': give http://[ADDRESS]:PORT")
      }
      host = authority[authority.index(after: authority.startIndex)..<end]
      let rest = authority[authority.index(after: end)...]
      guard rest.isEmpty || rest.first == ":" else {
        throw ProgramError("'\(text)' has '\(rest)' behind the address: give http://[ADDRESS]:PORT")
      }
      port = rest.isEmpty ? nil : rest.dropFirst()
    } else if let colon = authority.lastIndex(of: ":") {
      host = authority[..<colon]
      port = authority[authority.index(after: colon)...]
      if host.contains(":") {
        throw ProgramError("'\(text)' has several colons: put an IPv6 address in brackets, http://[ADDRESS]:PORT")
      }
    }
    if host.isEmpty {
      throw ProgramError(
        "'\(text)' names no host: give http://127.0.0.1:8080, or http://0.0.0.0:8080 for every interface")
    }
    guard let port else { return (String(host), 8080) }
    guard let number = Int(port), (0...65_535).contains(number) else {
      throw ProgramError("'\(port)' in '\(text)' is no port: give a number from 0 to 65535 (0 takes a free one)")
    }
    return (String(host), number)
  }

  /// As `--from` takes it.
  package var description: String {
    switch self {
    case .http(let host, let port): "http://\(Self.authority(host, port))"
    case .https(let host, let port): "https://\(Self.authority(host, port))"
    case .standardInput: "stdin"
    case .log(let url): Target.withoutSecrets(url)
    }
  }

  private static func authority(_ host: String, _ port: Int) -> String {
    host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
  }
}
