import AggregatorStorage
import CKafka
import Foundation
import Logging
import Synchronization

/// A client of librdkafka, from its making to its end, and the queue by which everything that it has to say comes.
///
/// No callback of librdkafka's is used but one that rings a bell: log lines, errors, delivery reports and rebalances are
/// events that one thread takes from the queue. That thread is the only one that blocks.
///
/// `@unchecked Sendable`, because a client may be used by any thread (rdkafka.h, "Thread safety"). Who calls ``destroy()``
/// sees to it that nobody uses it any more.
final class KafkaClient: @unchecked Sendable {
  let pointer: OpaquePointer
  /// Its main queue, or the consumer's.
  let queue: OpaquePointer
  private let address: KafkaAddress
  private let logger: Logger
  private let trouble = Mutex<String?>(nil)

  /// Makes a client whose log lines and errors go to its queue.
  init(
    _ type: rd_kafka_type_t, _ address: KafkaAddress, _ configuration: consuming KafkaConfiguration, logger: Logger
  ) throws(ProgramError) {
    pointer = try configuration.makeClient(type)
    self.address = address
    self.logger = logger
    if type == RD_KAFKA_CONSUMER {
      rd_kafka_poll_set_consumer(pointer)
      queue = rd_kafka_queue_get_consumer(pointer)
    } else {
      queue = rd_kafka_queue_get_main(pointer)
    }
    rd_kafka_set_log_queue(pointer, queue)
  }

  /// Frees it.
  ///
  /// Blocks until its threads have ended.
  ///
  /// - Parameter isOrderly: Whether a consumer has left its group.
  func destroy(isOrderly: Bool = true) {
    rd_kafka_queue_destroy(queue)
    rd_kafka_destroy_flags(pointer, isOrderly ? 0 : Int32(RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE))
  }

  /// What is wrong with the connections, as far as is known; why something was not in time.
  var lastTrouble: String? { trouble.withLock { $0 } }

  /// Something went well: what was wrong before explains nothing any more.
  func isWell() {
    trouble.withLock { $0 = nil }
  }

  /// Passes a log line on.
  ///
  /// librdkafka writes no contents of messages and no secrets.
  func log(_ event: OpaquePointer) {
    var facility: UnsafePointer<CChar>?
    var text: UnsafePointer<CChar>?
    var level: Int32 = 7
    guard rd_kafka_event_log(event, &facility, &text, &level) == 0, let facility, let text else { return }
    logger.log(
      level: level <= 4 ? .info : .debug, "librdkafka",
      metadata: ["kafka.facility": "\(String(cString: facility))", "kafka.line": "\(String(cString: text))"])
  }

  /// Takes an error that is of no message.
  func note(_ event: OpaquePointer) -> KafkaError {
    let error = KafkaError(rd_kafka_event_error(event))
    let text = String(cString: rd_kafka_event_error_string(event))
    trouble.withLock { $0 = "\(text) (\(error.name))" }
    logger.info(
      "a Kafka client reports an error",
      metadata: ["kafka.address": "\(address)", "kafka.error": "\(error.name)", "kafka.text": "\(text)"])
    return error
  }

  /// What has ended it for good; `nil` while it works.
  var fatalError: KafkaError? {
    let code = rd_kafka_fatal_error(pointer, nil, 0)
    return code == RD_KAFKA_RESP_ERR_NO_ERROR ? nil : KafkaError(code)
  }

  /// Asks a broker for what it knows of a topic, or only whether it is there.
  ///
  /// Blocks.
  func askMetadata(topic name: String?, within limit: Duration) -> KafkaError? {
    let topic = name.flatMap { rd_kafka_topic_new(pointer, $0, nil) }
    defer { if let topic { rd_kafka_topic_destroy(topic) } }
    var metadata: UnsafePointer<rd_kafka_metadata>?
    let code = rd_kafka_metadata(pointer, 0, topic, &metadata, Int32(limit / .milliseconds(1)))
    guard code == RD_KAFKA_RESP_ERR_NO_ERROR, let metadata else { return KafkaError(code) }
    defer { rd_kafka_metadata_destroy(metadata) }
    for index in 0..<Int(metadata.pointee.topic_cnt)
    where metadata.pointee.topics[index].err != RD_KAFKA_RESP_ERR_NO_ERROR {
      return KafkaError(metadata.pointee.topics[index].err)
    }
    return nil
  }
}

/// A thread that may block.
enum KafkaThread {
  /// Begins one.
  static func start(_ name: String, _ body: @escaping @Sendable () -> Void) {
    let thread = Thread(block: body)
    thread.name = name
    thread.start()
  }
}

/// Something that happens once, and for which tasks wait.
final class Occurrence: Sendable {
  private struct State {
    var hasHappened = false
    var waiting: [CheckedContinuation<Void, Never>] = []
  }

  private let state = Mutex(State())

  /// It has happened.
  func happen() {
    let waiting = state.withLock { state in
      state.hasHappened = true
      defer { state.waiting = [] }
      return state.waiting
    }
    for continuation in waiting { continuation.resume() }
  }

  /// Returns when it has happened.
  func wait() async {
    await withCheckedContinuation { continuation in
      let isOver = state.withLock { state in
        if !state.hasHappened { state.waiting.append(continuation) }
        return state.hasHappened
      }
      if isOver { continuation.resume() }
    }
  }
}
