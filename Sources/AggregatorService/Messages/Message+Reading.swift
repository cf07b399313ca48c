import AggregatorStorage
import Foundation

/// What is wanted of messages beside that they are JSON, and what identifies them.
struct MessageRules: Sendable {
  /// The most bytes of a message.
  var maximumSize = Int.max
  /// The member of each message that is its identity.
  var identityField: String?
  /// The client's key for the whole request: its messages are `KEY/0`, `KEY/1` and so on, unless they have the member.
  var requestKey: String?
}

extension Message {
  /// The messages in a body, or in a part of one, received now.
  ///
  /// - Parameters:
  ///   - bytes: The body, or whole lines of it.
  ///   - format: How messages lie in it.
  ///   - rules: What is wanted of them.
  ///   - before: Messages in the parts before this one.
  /// - Returns: The messages, in order.
  /// - Throws: ``MessageSyntaxError`` for the first of them that is not as it should be.
  static func all(
    in bytes: some Collection<UInt8>, format: MessageFormat, rules: MessageRules = MessageRules(), before: Int = 0
  ) throws(MessageSyntaxError) -> [Message] {
    let receivedAt = Int64(Date().timeIntervalSince1970 * 1_000_000)
    func messages(_ buffer: UnsafeBufferPointer<UInt8>) -> Result<[Message], MessageSyntaxError> {
      do throws(MessageSyntaxError) {
        var messages: [Message] = []
        for range in try MessageReader.messages(in: buffer, format: format) {
          let identity = try identity(of: range, in: buffer, rules: rules, number: before + messages.count)
          // Each a microsecond after the one before, so that equal messages of one body are not taken for repeats.
          messages.append(
            Message(
              body: String(decoding: buffer[range], as: UTF8.self), receivedAt: receivedAt + Int64(messages.count),
              identity: identity))
        }
        return .success(messages)
      } catch {
        return .failure(error)
      }
    }
    let result = bytes.withContiguousStorageIfAvailable(messages) ?? Array(bytes).withUnsafeBufferPointer(messages)
    return try result.get()
  }

  /// Checks a message by the rules and finds its identity.
  private static func identity(
    of range: Range<Int>, in buffer: UnsafeBufferPointer<UInt8>, rules: MessageRules, number: Int
  ) throws(MessageSyntaxError) -> String? {
    guard range.count <= rules.maximumSize else {
      throw MessageReader.error(
        at: range.lowerBound, in: buffer,
        reason: "the message has \(range.count) bytes, more than --max-message (\(rules.maximumSize)) lets in",
        isTooLarge: true)
    }
    guard let field = rules.identityField else { return rules.requestKey.map { "\($0)/\(number)" } }
    var scanner = JSONScanner(buffer, range: range)
    let value = try? scanner.valueOfMember(named: field)
    guard let value, let identity = scanner.identity(in: value), !identity.isEmpty, identity.utf8.count <= 512 else {
      throw MessageReader.error(
        at: value?.lowerBound ?? range.lowerBound, in: buffer,
        reason:
          "the message's identity, its member \"\(field)\" (--id-field), must be a number or a string of 1 to 512 bytes"
      )
    }
    return identity
  }
}
