import CNATS

/// A message as the server has delivered it.
struct Delivery: Sendable {
  let subject: String
  /// Where its acknowledgement goes.
  let reply: String
  /// Its place in the stream.
  let sequence: UInt64
  /// The how-manyth delivery of the consumer it is, from 1.
  let number: UInt64
  /// How often it has been delivered, this time included.
  let deliveries: UInt64
  /// Messages of the stream that are not delivered to anybody yet.
  let pending: UInt64
  /// When it came into the stream, in nanoseconds since 1970-01-01 UTC.
  let storedAt: Int64
  let receivedAt: String?
  let identity: String?
  /// `nil` when it is no text in UTF-8.
  let body: String?
  let size: Int

  /// Reads the library's message; `nil` for one that is not from a consumer.
  init?(_ message: OpaquePointer) {
    var data: UnsafeMutablePointer<jsMsgMetaData>?
    guard natsMsg_GetMetaData(&data, message) == NATS_OK, let meta = data?.pointee else { return nil }
    defer { jsMsgMetaData_Destroy(data) }
    guard let reply = natsMsg_GetReply(message), let subject = natsMsg_GetSubject(message) else { return nil }
    self.subject = String(cString: subject)
    self.reply = String(cString: reply)
    sequence = meta.Sequence.Stream
    number = meta.Sequence.Consumer
    deliveries = meta.NumDelivered
    pending = meta.NumPending
    storedAt = meta.Timestamp
    receivedAt = Self.header(OutgoingMessage.receivedAtHeader, of: message)
    identity = Self.header(OutgoingMessage.identityHeader, of: message)
    size = Int(natsMsg_GetDataLength(message))
    let bytes = UnsafeRawBufferPointer(start: natsMsg_GetData(message), count: size)
    body = String(validating: bytes, as: UTF8.self)
  }

  private static func header(_ name: String, of message: OpaquePointer) -> String? {
    var value: UnsafePointer<CChar>?
    guard natsMsgHeader_Get(message, name, &value) == NATS_OK else { return nil }
    return value.map { String(cString: $0) }
  }
}
