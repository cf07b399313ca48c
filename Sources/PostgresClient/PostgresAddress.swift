import CPostgres

/// Where a database is, and as whom: a URI as libpq takes it, with all of its parameters.
///
/// It may hold a password, so it shows itself without.
package struct PostgresAddress: Sendable, CustomStringConvertible, CustomReflectable {
  /// The whole URI: for libpq alone.
  let uri: String
  /// As it may be shown: no user, no password, no parameters.
  package let description: String
  /// How long connecting may take: `connect_timeout` for each host that is named, 10 s where it is not given.
  let connectTimeout: Duration

  /// Reads a URI.
  ///
  /// - Throws: ``PostgresError`` that says what is wrong with it. What libpq says is not passed on whole, since it quotes the URI,
  ///   and a password that is not percent-encoded turns up in any of its parts.
  package init(uri: String) throws(PostgresError) {
    let options = try Self.options(uri)
    let host = options["host"] ?? options["hostaddr"] ?? ""
    let port = options["port"] ?? ""
    let database = options["dbname"] ?? ""
    guard !host.contains("@"), !Self.path(uri).contains("@"), port.utf8.allSatisfy({ Self.isPort($0) }) else {
      throw Self.malformed("the port is no number, or there is a '@' too many")
    }
    var timeout = 10
    if let text = options["connect_timeout"] {
      guard let seconds = Int(text) else { throw Self.malformed("connect_timeout is no number of seconds") }
      // libpq takes 0 for "for ever", and 1 for 2.
      timeout = seconds > 0 ? max(seconds, 2) : 3_600
    }
    connectTimeout = .seconds(timeout * max(1, host.split(separator: ",").count))
    self.uri = uri
    // A folder, of a socket, is shown as libpq wants it in a URI.
    let shownHost = host.split(separator: "/", omittingEmptySubsequences: false).joined(separator: "%2F")
    description = "postgres://\(shownHost)\(port.isEmpty ? "" : ":\(port)")\(database.isEmpty ? "" : "/\(database)")"
  }

  /// Nothing, lest a dump shows the password.
  package var customMirror: Mirror { Mirror(self, children: ["address": description]) }

  private static func options(_ uri: String) throws(PostgresError) -> [String: String] {
    guard uri.hasPrefix("postgres://") || uri.hasPrefix("postgresql://") else {
      throw malformed("it does not begin with postgres://")
    }
    var text: UnsafeMutablePointer<CChar>?
    guard let parsed = PQconninfoParse(uri, &text) else {
      let said = text.map { String(cString: $0) } ?? "no reason given"
      PQfreemem(text)
      throw malformed(String(said.prefix { $0 != "\"" && $0 != "\n" }.trimmingSuffix { $0 == ":" || $0 == " " }))
    }
    defer { PQconninfoFree(parsed) }
    var options: [String: String] = [:]
    var option = parsed
    while let keyword = option.pointee.keyword {
      if let value = option.pointee.val { options[String(cString: keyword)] = String(cString: value) }
      option += 1
    }
    return options
  }

  /// From the first slash after the host to the parameters.
  private static func path(_ uri: String) -> Substring {
    guard let slashes = uri.firstRange(of: "://") else { return "" }
    return uri[slashes.upperBound...].prefix { $0 != "?" }.drop { $0 != "/" }
  }

  private static func isPort(_ byte: UInt8) -> Bool {
    (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) || byte == UInt8(ascii: ",")
  }

  private static func malformed(_ why: String) -> PostgresError {
    PostgresError(
      description: "the URI of the database is malformed: \(why); give postgres://USER@HOST:PORT/DATABASE, with the "
        + "characters @ : / ? # % of a user, password or name percent-encoded (%40 %3A %2F %3F %23 %25)",
      state: nil)
  }
}

extension Substring {
  fileprivate func trimmingSuffix(while predicate: (Character) -> Bool) -> Substring {
    var text = self
    while let last = text.last, predicate(last) { text.removeLast() }
    return text
  }
}
