import AggregatorStorage
import CKafka
import Foundation

/// Makes our messages of librdkafka's.
struct MessageReader {
  /// What the messages of one partition have in common.
  private struct Source {
    let topic: String
    let partition: LogPartition
    /// The stream that the topic names.
    let stream: StreamName?
    /// `nil` where the partition is not this member's.
    let epoch: Int64?
  }

  private struct Key: Hashable {
    let topic: OpaquePointer
    let number: Int32
  }

  private let address: KafkaAddress
  private let stream: StreamName
  /// Known until the assignment changes.
  private var sources: [Key: Source] = [:]
  /// Streams that headers have named; bounded.
  private var streams: [String: StreamName?] = [:]

  /// Begins.
  ///
  /// - Parameters:
  ///   - address: Which says what topics and identities mean.
  ///   - stream: The stream of messages that name none.
  init(_ address: KafkaAddress, stream: StreamName) {
    self.address = address
    self.stream = stream
  }

  /// The assignment changes.
  mutating func forget() {
    sources = [:]
  }

  /// Makes a message; `nil` where its partition is not this member's.
  mutating func message(
    _ pointer: UnsafeMutablePointer<rd_kafka_message_t>, epoch: (LogPartition) -> Int64?
  ) -> LogMessage? {
    let raw = pointer.pointee
    guard let source = source(of: raw, epoch), let epoch = source.epoch else { return nil }
    var headers: OpaquePointer?
    if rd_kafka_message_headers(pointer, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR { headers = nil }
    let identity = address.identity == .header ? Self.header("Idempotency-Key", headers) : nil
    let milliseconds = rd_kafka_message_timestamp(pointer, nil)
    let receivedAt = milliseconds >= 0 ? milliseconds * 1_000 : Int64(Date().timeIntervalSince1970 * 1_000_000)
    return LogMessage(
      partition: source.partition, position: raw.offset,
      stream: source.stream ?? Self.header("Stream", headers).flatMap { named($0) } ?? stream,
      message: Message(
        body: Self.body(raw), receivedAt: receivedAt,
        identity: identity ?? "kafka/\(source.topic)/\(raw.partition)/\(raw.offset)"),
      redeliveries: 0, ticket: epoch)
  }

  private mutating func source(of raw: rd_kafka_message_t, _ epoch: (LogPartition) -> Int64?) -> Source? {
    guard let pointer = raw.rkt else { return nil }
    let key = Key(topic: pointer, number: raw.partition)
    if let known = sources[key] { return known }
    let topic = String(cString: rd_kafka_topic_name(pointer))
    let partition = Assignment.Place(topic: topic, number: raw.partition).partition
    let source = Source(
      topic: topic, partition: partition, stream: address.topic.stream(of: topic), epoch: epoch(partition))
    sources[key] = source
    return source
  }

  private mutating func named(_ text: String) -> StreamName? {
    if let known = streams[text] { return known }
    if streams.count > 1_000 { streams = [:] }
    let name = try? StreamName(text)
    streams[text] = name
    return name
  }

  /// The text of a message.
  ///
  /// A message without a value is `null`; bytes that are no text are kept as `{"base64":"…"}`.
  private static func body(_ raw: rd_kafka_message_t) -> String {
    guard let payload = raw.payload else { return "null" }
    let bytes = UnsafeRawBufferPointer(start: payload, count: raw.len)
    return String(validating: bytes, as: UTF8.self) ?? "{\"base64\":\"\(Data(bytes).base64EncodedString())\"}"
  }

  /// The last header of this name, where it is a text that is not empty.
  private static func header(_ name: String, _ headers: OpaquePointer?) -> String? {
    guard let headers else { return nil }
    var value: UnsafeRawPointer?
    var size = 0
    guard rd_kafka_header_get_last(headers, name, &value, &size) == RD_KAFKA_RESP_ERR_NO_ERROR, let value, size > 0
    else { return nil }
    return String(validating: UnsafeRawBufferPointer(start: value, count: size), as: UTF8.self)
  }
}
