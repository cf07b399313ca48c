import Foundation

/// Where batches are posted: a URL in which `{stream}` and `{key}` stand for the stream's name and the batch's key.
struct Endpoint: Sendable {
  /// Scheme, host, port and path, without what may be secret, to be shown and logged.
  let description: String
  let host: String
  let port: Int
  /// The value of `Authorization`, from the user and password in the URL.
  let authorization: String?

  /// The URL without user and password.
  private let template: String

  /// Reads a URL.
  ///
  /// - Throws: ``ProgramError`` that says what is wrong with it, and never shows what may be a password.
  init(_ text: String) throws(ProgramError) {
    guard let match = text.wholeMatch(of: /(?i)(https?):\/\/([^\/?#]*)([^#]*)(#.*)?/) else {
      throw ProgramError("this is no address of a server: give http://HOST/PATH or https://HOST/PATH")
    }
    let scheme = match.1.lowercased()
    var authority = match.2
    var user: Substring?
    if let at = authority.lastIndex(of: "@") {
      user = authority[..<at]
      authority = authority[authority.index(after: at)...]
    }
    let rest = match.3.hasPrefix("/") ? String(match.3) : "/" + match.3
    description = "\(scheme)://\(authority)\(rest.prefix { $0 != "?" })"
    guard match.4 == nil else {
      throw ProgramError("\(description): an address of a server has no '#'; write %23 where it is meant")
    }
    template = "\(scheme)://\(authority)\(rest)"
    // The braces as a name that is possible there.
    guard let url = URL(string: Self.fill(template, stream: "s", key: "k")), let host = url.host(), !host.isEmpty,
      !authority.contains("{"), url.port.map({ (1...65_535).contains($0) }) ?? !authority.hasSuffix(":")
    else {
      throw ProgramError("\(description): this is no address of a server: give \(scheme)://HOST:PORT/PATH")
    }
    self.host = host.trimmingCharacters(in: ["[", "]"])
    port = url.port ?? (scheme == "https" ? 443 : 80)
    authorization = if let user { try Self.basic(user, of: description) } else { nil }
  }

  /// Basic authorisation (RFC 7617).
  private static func basic(_ userInfo: Substring, of description: String) throws(ProgramError) -> String {
    let parts = userInfo.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
    guard let user = parts[0].removingPercentEncoding,
      let password = parts.count > 1 ? parts[1].removingPercentEncoding : "", !user.contains(":")
    else {
      throw ProgramError(
        "\(description): the user or the password before the host cannot be read; write %25 for '%', and give a user "
          + "without ':'")
    }
    return "Basic " + Data("\(user):\(password)".utf8).base64EncodedString()
  }

  /// The URL for a batch.
  func url(stream: StreamName, key: String) -> String {
    Self.fill(template, stream: stream.description, key: key)
  }

  /// Neither a stream's name nor a key has a character that is special in a URL.
  private static func fill(_ template: String, stream: String, key: String) -> String {
    template.replacing(/(?i)(?:\{|%7B)(stream|key)(?:\}|%7D)/) { $0.1.lowercased() == "stream" ? stream : key }
  }
}
