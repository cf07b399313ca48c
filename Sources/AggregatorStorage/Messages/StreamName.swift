/// The name of a stream: what is stored together, in a table or a file of that name.
///
/// It is a lower-case letter, and up to 47 lower-case letters, digits, `_` and `-` behind it. So it can stand in a path, in a
/// quoted SQL name, in a subject or a topic, and two names never mean the same file where the file system folds case.
package struct StreamName: Sendable, Hashable, Comparable, CustomStringConvertible {
  /// The name.
  package let description: String

  /// The stream of messages for which none was named.
  package static let messages = StreamName(unchecked: "messages")

  /// The most characters of a name.
  package static let longest = 48

  private init(unchecked text: String) {
    description = text
  }

  /// Checks a name.
  ///
  /// - Throws: ``ProgramError`` that says what a name may be.
  package init(_ text: some StringProtocol) throws(ProgramError) {
    let bytes = text.utf8
    guard let first = bytes.first, bytes.count <= Self.longest, Self.isLetter(first),
      bytes.allSatisfy({ Self.isLetter($0) || (0x30...0x39).contains($0) || $0 == 0x5F || $0 == 0x2D }),
      !text.hasPrefix("sqlite_")
    else {
      let shown = text.prefix(60)
      throw ProgramError(
        "'\(shown)\(text.count > 60 ? "…" : "")' is no name of a stream: give 1 to \(Self.longest) lower-case letters, digits, "
          + "'_' and '-', a letter first (and not sqlite_)")
    }
    description = String(text)
  }

  private static func isLetter(_ byte: UInt8) -> Bool { (0x61...0x7A).contains(byte) }

  /// By their characters.
  package static func < (left: StreamName, right: StreamName) -> Bool { left.description < right.description }
}
