package import AggregatorStorage

/// Which topic the messages of a stream are in: one for all, or one each, with `{stream}` for the stream's name.
package struct KafkaTopic: Sendable, Hashable, CustomStringConvertible {
  /// As it is written in the URL.
  package let description: String
  private let prefix: String
  /// `nil` where all streams share the topic.
  private let suffix: String?

  private static let placeholder = "{stream}"

  /// Reads `NAME`, or a name with `{stream}` in it once.
  package init(_ text: String) throws(ProgramError) {
    description = text
    guard let range = text.firstRange(of: Self.placeholder) else {
      prefix = text
      suffix = nil
      try Self.check(text, in: text, longest: 249)
      return
    }
    prefix = String(text[..<range.lowerBound])
    suffix = String(text[range.upperBound...])
    try Self.check(
      text[..<range.lowerBound] + "x" + text[range.upperBound...], in: text, longest: 249 - StreamName.longest)
  }

  private static func check(_ name: some StringProtocol, in text: String, longest: Int) throws(ProgramError) {
    let isLegal = name.utf8.allSatisfy { byte in
      switch byte {
      case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x2E, 0x5F: true
      default: false
      }
    }
    guard isLegal, !name.isEmpty, name.utf8.count <= longest, name != ".", name != ".." else {
      throw ProgramError(
        "'\(text)' is no name of a topic: give up to \(longest) letters, digits, '.', '_' and '-', and {stream} at most once "
          + "where each stream has a topic of its own")
    }
  }

  /// Whether each stream has a topic of its own.
  package var isOfEachStream: Bool { suffix != nil }

  /// The topic of a stream.
  package func name(of stream: StreamName) -> String {
    suffix.map { "\(prefix)\(stream)\($0)" } ?? prefix
  }

  /// What a consumer subscribes to: the name, or a regular expression, which librdkafka knows by its `^`.
  var subscription: String {
    suffix.map { "^\(Self.quoted(prefix))[a-z][a-z0-9_-]*\(Self.quoted($0))$" } ?? prefix
  }

  private static func quoted(_ text: String) -> String { text.replacing(".", with: "\\.") }

  /// The stream that a topic is of; `nil` where the topic does not say it.
  func stream(of topic: String) -> StreamName? {
    guard let suffix, topic.hasPrefix(prefix), topic.hasSuffix(suffix),
      topic.utf8.count > prefix.utf8.count + suffix.utf8.count
    else { return nil }
    return try? StreamName(topic.dropFirst(prefix.count).dropLast(suffix.count))
  }
}
