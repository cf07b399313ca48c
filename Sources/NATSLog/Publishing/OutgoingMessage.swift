import AggregatorStorage
import CNATS

/// A message on its way into JetStream.
struct OutgoingMessage: Sendable {
  /// When the message was received, in microseconds since 1970-01-01 UTC.
  static let receivedAtHeader = "Aggregator-Received-At"
  /// What the client knows it by, percent-encoded; left out when it has said nothing.
  static let identityHeader = "Aggregator-Identity"

  let subject: String
  let body: String
  let receivedAt: String
  let identity: String?
  /// What JetStream tells a repeat by: its `Nats-Msg-Id`, one for all subjects of a stream.
  let id: String

  /// Makes one of a message of `stream`.
  ///
  /// - Parameters:
  ///   - message: What is stored.
  ///   - subject: Where it is published.
  ///   - stream: Its stream, which is a part of its `Nats-Msg-Id`.
  ///   - fallback: Its `Nats-Msg-Id` where the message has no identity.
  init(_ message: Message, subject: String, stream: StreamName, fallback: @autoclosure () -> String) {
    self.subject = subject
    body = message.body
    receivedAt = "\(message.receivedAt)"
    identity = message.identity.map(HeaderValue.encoded)
    id = identity.map { "\(stream)/\($0)" } ?? fallback()
  }

  /// About how many bytes it has on the wire, headers included, as the server counts them against its limit; rather too many.
  var size: Int {
    body.utf8.count + id.utf8.count + (identity?.utf8.count ?? 0) + receivedAt.utf8.count + 128
  }

  /// Makes the library's message.
  ///
  /// - Returns: A message that is the caller's to destroy.
  func make() throws(NATSError) -> OpaquePointer {
    var message: OpaquePointer?
    var text = body
    let status = text.withUTF8 { bytes in
      bytes.withMemoryRebound(to: CChar.self) {
        natsMsg_Create(&message, subject, nil, $0.baseAddress, Int32(clamping: $0.count))
      }
    }
    try check("publishing", status)
    guard let message else { throw NATSError("publishing", NATS_NO_MEMORY) }
    do throws(NATSError) {
      try check("publishing", natsMsgHeader_Set(message, Self.receivedAtHeader, receivedAt))
      if let identity { try check("publishing", natsMsgHeader_Set(message, Self.identityHeader, identity)) }
    } catch {
      natsMsg_Destroy(message)
      throw error
    }
    return message
  }
}

/// Text as it can stand in a header: of what is no visible character of ASCII, and of `%`, the bytes as `%` and two digits.
enum HeaderValue {
  static func encoded(_ text: String) -> String {
    if text.utf8.allSatisfy(isPlain) { return text }
    let digits = Array("0123456789ABCDEF".utf8)
    var bytes: [UInt8] = []
    for byte in text.utf8 {
      if isPlain(byte) {
        bytes.append(byte)
      } else {
        bytes.append(percent)
        bytes.append(digits[Int(byte / 16)])
        bytes.append(digits[Int(byte % 16)])
      }
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  private static let percent = UInt8(ascii: "%")

  private static func isPlain(_ byte: UInt8) -> Bool {
    byte >= 0x21 && byte <= 0x7E && byte != percent
  }

  /// `nil` for what ``encoded(_:)`` does not make.
  static func decoded(_ text: String) -> String? {
    var bytes: [UInt8] = []
    var rest = Array(text.utf8)[...]
    while let byte = rest.popFirst() {
      guard byte == percent else {
        bytes.append(byte)
        continue
      }
      guard let value = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16), rest.count >= 2 else {
        return nil
      }
      bytes.append(value)
      rest = rest.dropFirst(2)
    }
    return String(validating: bytes, as: UTF8.self)
  }
}
