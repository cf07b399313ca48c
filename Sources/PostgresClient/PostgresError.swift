import CPostgres

/// What the server, or libpq, says of a failure.
package struct PostgresError: Error, CustomStringConvertible {
  /// In words, on one line; never a password, nor a value of a row.
  package let description: String
  /// The five characters of SQLSTATE; `nil` when no server said anything (no connection, no answer in time).
  package let state: String?
  /// Whether it is of connecting, and so no statement was sent.
  package let isOfConnecting: Bool
  /// Whether no server will ever be reached like this: a parameter of the address makes no sense, a certificate is missing, a
  /// password is wanted and none is given.
  package let isMisconfigured: Bool

  /// Makes an error.
  package init(description: String, state: String?) {
    self.description = description
    self.state = state
    isOfConnecting = false
    isMisconfigured = false
  }

  /// What a result says.
  ///
  /// Detail, hint and context are left out, since they quote rows.
  init(result: OpaquePointer?, handle: OpaquePointer?) {
    // Characters and not constants in C: PG_DIAG_SQLSTATE and PG_DIAG_MESSAGE_PRIMARY.
    let state = PQresultErrorField(result, Int32(UInt8(ascii: "C"))).map { String(cString: $0) }
    guard let primary = PQresultErrorField(result, Int32(UInt8(ascii: "M"))).map({ String(cString: $0) }) else {
      self.init(handle: handle)
      return
    }
    self.init(description: Self.withoutValue(Self.firstLine(primary), state: state), state: state)
  }

  /// What libpq says of a connection.
  init(handle: OpaquePointer?) {
    let text = PQerrorMessage(handle).map { String(cString: $0) } ?? ""
    let line = Self.firstLine(text)
    self.init(description: line.isEmpty ? "the connection is lost" : line, state: nil)
  }

  /// Why a connection was not made, from libpq's text in its verbose form, which is the only one with SQLSTATE in it.
  ///
  /// Of several hosts or addresses, what the last one said.
  init(connecting text: String) {
    let lines = text.split(whereSeparator: \.isNewline).filter { !$0.hasPrefix("LOCATION:") && !$0.hasPrefix("\t") }
    var line = lines.last.map(String.init) ?? "no reason given"
    var state: String?
    if let match = line.firstMatch(of: #/:\s+(?<state>(?=[A-Z]*[0-9])[0-9A-Z]{5}): /#) {
      state = String(match.output.state)
      line.replaceSubrange(match.range, with: ": ")
    }
    self.state = state
    description = line
    isOfConnecting = true
    // libpq has no code for these, only words.
    let words = ["invalid ", "no password supplied", "SSL was required", "certificate", "could not match"]
    isMisconfigured = state == nil && words.contains { line.contains($0) }
  }

  private static func firstLine(_ text: String) -> String {
    text.split(whereSeparator: \.isNewline).first.map(String.init) ?? ""
  }

  /// An error in data (class 22) quotes the value: `value "…" is out of range for type integer`.
  private static func withoutValue(_ text: String, state: String?) -> String {
    guard state?.hasPrefix("22") == true, let first = text.firstIndex(of: "\""), let last = text.lastIndex(of: "\""),
      first < last
    else { return text }
    return text.replacingCharacters(in: text.index(after: first)..<last, with: "…")
  }
}

extension String {
  fileprivate func replacingCharacters(in range: Range<Index>, with text: String) -> String {
    self[..<range.lowerBound] + text + self[range.upperBound...]
  }
}
