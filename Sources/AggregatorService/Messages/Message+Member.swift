package import AggregatorStorage

extension Message {
  /// The text of a string, or a number as it is written, that is the first member with this name.
  ///
  /// - Returns: `nil` when the message is no object, or has no such member.
  package func member(named name: String) -> String? {
    var body = body
    return body.withUTF8 { bytes in
      var scanner = JSONScanner(bytes, range: 0..<bytes.count)
      guard let value = try? scanner.valueOfMember(named: name) else { return nil }
      return scanner.identity(in: value)
    }
  }
}
