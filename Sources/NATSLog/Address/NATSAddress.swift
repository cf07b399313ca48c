package import AggregatorStorage
import Foundation

/// Which servers, as whom, and what of them: a URL `nats://USER:PASSWORD@HOST1:PORT,HOST2/STREAM?NAME=VALUE&…`.
///
/// It may hold a password, so it shows itself without. `tls://` is `nats://` with `tls=true`. Of the secrets, those in a file
/// (`creds`, `password_file`, `token_file`) are better than those in the URL, which others see in the list of processes.
package struct NATSAddress: Sendable, CustomStringConvertible, CustomReflectable {
  /// What the connection is encrypted with.
  struct TLS: Sendable {
    /// Files in PEM; `nil` for what the system trusts, and for no certificate of our own.
    var authorities, certificate, key: String?
  }

  /// Each as `nats://HOST:PORT`, with no user.
  let servers: [String]
  let user, password, token: String?
  /// The path of a credentials file, with a JWT and a seed.
  let credentials: String?
  let tls: TLS?
  /// The path without its slash: the stream of JetStream.
  let resource: String?
  /// Parameters that are not about the connection.
  private(set) var parameters: [String: String]

  /// As it may be shown and logged: no user, no password, no parameters.
  package var description: String {
    let hosts = servers.map { $0.dropFirst("nats://".count) }.joined(separator: ",")
    return "nats://\(hosts)\(resource.map { "/\($0)" } ?? "")"
  }

  /// Nothing more, lest a dump shows the password.
  package var customMirror: Mirror { Mirror(self, children: ["address": description]) }

  /// Reads a URL.
  ///
  /// - Throws: ``ProgramError`` that says what is wrong with it, and quotes neither user nor password.
  package init(_ text: String) throws(ProgramError) {
    guard let slashes = text.range(of: "://"), ["nats", "tls"].contains(text[..<slashes.lowerBound]) else {
      throw ProgramError("this is no address of NATS: \(Self.form)")
    }
    let (bare, query) = Self.cut(text[slashes.upperBound...], at: "?")
    var values = try Self.values(query ?? "")
    let (authority, path) = Self.cut(bare, at: "/")
    var hosts = authority
    var login: Substring?
    if let at = authority.lastIndex(of: "@") {
      login = authority[..<at]
      hosts = authority[authority.index(after: at)...]
    }
    servers = try Self.servers(hosts)
    let (name, word) = Self.cut(login ?? "", at: ":")
    let user = try name.isEmpty ? nil : Self.decoded(name)
    let passwordFile = values.removeValue(forKey: "password_file")
    let tokenFile = values.removeValue(forKey: "token_file")
    // NATS takes a user without a password for a token.
    let isToken = user != nil && word == nil && passwordFile == nil
    self.user = isToken ? nil : user
    if let passwordFile {
      password = try Self.secret(passwordFile)
    } else if let word {
      password = try Self.decoded(word)
    } else {
      password = nil
    }
    if let tokenFile {
      token = try Self.secret(tokenFile)
    } else {
      token = isToken ? user : nil
    }
    credentials = values.removeValue(forKey: "creds")
    tls = try Self.tls(&values, isAsked: text.hasPrefix("tls:"))
    if let path, !path.isEmpty {
      resource = try Self.decoded(path)
    } else {
      resource = nil
    }
    parameters = values
    for file in [credentials, tls?.authorities, tls?.certificate, tls?.key].compactMap({ $0 })
    where !FileManager.default.isReadableFile(atPath: file) {
      throw ProgramError("\(self): '\(file)' is not there, or cannot be read by this user")
    }
  }

  private static let form =
    "give nats://HOST1,HOST2/STREAM, with the characters @ : / ? # % , of a user or password percent-encoded (%40 %3A %2F "
    + "%3F %23 %25 %2C)"

  private static func cut(_ text: Substring, at mark: Character) -> (Substring, Substring?) {
    guard let place = text.firstIndex(of: mark) else { return (text, nil) }
    return (text[..<place], text[text.index(after: place)...])
  }

  private static func decoded(_ text: some StringProtocol) throws(ProgramError) -> String {
    guard let decoded = text.removingPercentEncoding, !decoded.utf8.contains(0) else {
      throw ProgramError("the address of NATS has a '%' that begins no percent-encoded character: \(form)")
    }
    return decoded
  }

  private static func servers(_ hosts: Substring) throws(ProgramError) -> [String] {
    let malformed = ProgramError("the servers in the address of NATS are malformed: \(form)")
    var servers: [String] = []
    for host in hosts.split(separator: ",", omittingEmptySubsequences: false) {
      guard !host.isEmpty, !host.contains(where: { "@#% ".contains($0) }) else { throw malformed }
      let port = host.split(separator: "]", omittingEmptySubsequences: false).last?.split(
        separator: ":", omittingEmptySubsequences: false)
      if let port, port.count > 1 {
        guard port.count == 2, UInt16(port[1]) != nil else { throw malformed }
        servers.append("nats://\(host)")
      } else {
        servers.append("nats://\(host):4222")
      }
    }
    return servers
  }

  private static func values(_ query: Substring) throws(ProgramError) -> [String: String] {
    var values: [String: String] = [:]
    for pair in query.split(separator: "&") {
      let (name, value) = cut(pair, at: "=")
      guard let value, !value.isEmpty else {
        throw ProgramError("the address of NATS has a parameter '\(name)' without a value: give \(name)=VALUE")
      }
      guard try values.updateValue(decoded(value), forKey: decoded(name)) == nil else {
        throw ProgramError("the address of NATS has the parameter '\(name)' twice")
      }
    }
    return values
  }

  private static func tls(_ values: inout [String: String], isAsked: Bool) throws(ProgramError) -> TLS? {
    var tls = TLS()
    tls.authorities = values.removeValue(forKey: "tls_ca")
    tls.certificate = values.removeValue(forKey: "tls_cert")
    tls.key = values.removeValue(forKey: "tls_key")
    guard (tls.certificate == nil) == (tls.key == nil) else {
      throw ProgramError("tls_cert and tls_key go together: give both, or none")
    }
    let hasFiles = tls.authorities != nil || tls.certificate != nil
    switch values.removeValue(forKey: "tls") {
    case "true": return tls
    case nil: return isAsked || hasFiles ? tls : nil
    default: throw ProgramError("tls is true, or left out, in the address of NATS")
    }
  }

  private static func secret(_ path: String) throws(ProgramError) -> String {
    guard let text = try? String(contentsOfFile: path, encoding: .utf8) else {
      throw ProgramError("the file '\(path)' with a secret of NATS is not there, or cannot be read by this user")
    }
    return text.trimmingCharacters(in: .whitespacesAndNewlines)
  }
}
