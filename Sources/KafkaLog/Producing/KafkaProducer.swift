import AggregatorStorage
import CKafka
import Logging

/// A producer: batches in, what became of each message out.
final class KafkaProducer: Sendable {
  /// What the thread needs; it outlives the producer.
  private final class Core: Sendable {
    let client: KafkaClient
    let deliveries = Deliveries()
    let end = Occurrence()

    init(_ client: KafkaClient) {
      self.client = client
    }
  }

  private let core: Core

  /// Makes a producer.
  ///
  /// Nothing is connected yet, so a cluster that is not there is no error.
  init(_ address: KafkaAddress, logger: Logger) throws(ProgramError) {
    let configuration = try KafkaConfiguration(
      address,
      defaults: [
        // Less than the store's own time-out, so that librdkafka is the one who says what became of each message.
        ("message.timeout.ms", "20000"),
        // Batches are made before; a message is not kept waiting for others.
        ("linger.ms", "0"),
        ("compression.codec", "lz4"),
        // As Java's clients, so that a key is in the same partition whoever writes it.
        ("partitioner", "murmur2_random"),
        ("queue.buffering.max.kbytes", "262144"),
        // Within the time-out of a message, so that a topic that is not there is told as that.
        ("topic.metadata.propagation.max.ms", "10000"),
      ],
      fixed: [("acks", "all"), ("enable.idempotence", "true"), ("delivery.report.only.error", "false")])
    configuration.enable(RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR | RD_KAFKA_EVENT_LOG)
    core = Core(try KafkaClient(RD_KAFKA_PRODUCER, address, configuration, logger: logger))
    KafkaThread.start("kafka producer") { [core] in Self.serve(core) }
  }

  deinit {
    core.deliveries.close()
  }

  /// Takes events until the producer is closed and each message is reported, and frees the client.
  private static func serve(_ core: Core) {
    while !core.deliveries.isOver {
      guard let event = rd_kafka_queue_poll(core.client.queue, 100) else { continue }
      let type = rd_kafka_event_type(event)
      switch type {
      case RD_KAFKA_EVENT_DR: core.deliveries.settle(event)
      case RD_KAFKA_EVENT_ERROR: _ = core.client.note(event)
      case RD_KAFKA_EVENT_LOG: core.client.log(event)
      default: break
      }
      // Only now the client counts its messages as gone.
      rd_kafka_event_destroy(event)
      if type == RD_KAFKA_EVENT_DR { core.deliveries.beginRound() }
    }
    core.client.destroy()
    core.end.happen()
  }

  /// Sends messages of a stream to a topic, in order; waits for room in the client's queue, and then for each report.
  ///
  /// A message that librdkafka has cannot be taken back, so a cancellation is not heard. It is bounded by
  /// `message.timeout.ms`.
  ///
  /// - Returns: Why messages were not delivered, by their place; `nil` when the producer is closed.
  func send(
    _ messages: [Message], to topic: String, stream: StreamName, key: KafkaKey
  ) async -> Deliveries.Failures? {
    precondition(messages.count < Deliveries.mostMessages)
    guard !messages.isEmpty else { return [:] }
    guard let batch = core.deliveries.begin(messages.count) else { return nil }
    for (place, message) in messages.enumerated() {
      let text = key.text(of: message, stream)
      func produce() -> rd_kafka_resp_err_t {
        Self.produce(message, text, topic, stream.description, Deliveries.ticket(batch, place), core.client)
      }
      var code = produce()
      while code == RD_KAFKA_RESP_ERR__QUEUE_FULL {
        let round = core.deliveries.round
        code = produce()
        guard code == RD_KAFKA_RESP_ERR__QUEUE_FULL else { break }
        await core.deliveries.round(after: round)
        code = produce()
      }
      if code != RD_KAFKA_RESP_ERR_NO_ERROR { core.deliveries.fail(batch, place, KafkaError(code)) }
    }
    let failures = await core.deliveries.outcome(of: batch)
    if failures.count < messages.count { core.client.isWell() }
    return failures
  }

  private static func produce(
    _ message: Message, _ key: String?, _ topic: String, _ stream: String, _ ticket: UnsafeMutableRawPointer?,
    _ client: KafkaClient
  ) -> rd_kafka_resp_err_t {
    withBytes(message.body) { body in
      withBytes(key) { key in
        withBytes(message.identity) { identity in
          withBytes(stream) { stream in
            kafka_produce(client.pointer, topic, key, body, message.receivedAt / 1_000, stream, identity, ticket)
          }
        }
      }
    }
  }

  private static func withBytes<Result>(_ text: String?, _ body: (kafka_bytes) -> Result) -> Result {
    guard var text else { return body(kafka_bytes(bytes: nil, count: 0)) }
    return text.withUTF8 { buffer in
      // An empty one still is one: a pointer that is not NULL.
      body(kafka_bytes(bytes: buffer.baseAddress ?? UnsafePointer(bitPattern: 1), count: buffer.count))
    }
  }

  /// Whether it has come to its end by an error, so that another has to be made.
  var isSpent: Bool { core.client.fatalError != nil }

  /// What is wrong with the connections, as far as is known.
  var lastTrouble: String? { core.client.lastTrouble }

  /// Finds out whether a broker answers, and whether it lets the topic be written to.
  func check(topic: String?) async -> KafkaError? {
    await withCheckedContinuation { continuation in
      KafkaThread.start("kafka check") { [core] in
        continuation.resume(returning: core.client.askMetadata(topic: topic, within: .seconds(5)))
      }
    }
  }

  /// Sends what is left, and lets go of the connections.
  func close() async {
    core.deliveries.close()
    await core.end.wait()
  }

  /// Whether messages are on their way.
  var isBusy: Bool { core.deliveries.isBusy }

  /// For tests: ends it by an error, as a broker may.
  func breakDown() {
    rd_kafka_test_fatal_error(core.client.pointer, RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, "a test")
  }
}
