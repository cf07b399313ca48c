package import AggregatorStorage
import Batching
import CKafka
package import Logging
import Synchronization

/// Which messages stay in order behind one another: those of the same key are in the same partition.
package enum KafkaKey: Sendable {
  /// All messages of a stream.
  case stream
  /// Messages for which this says the same; one for which it says nothing is in any partition.
  case value(@Sendable (Message) -> String?)

  func text(of message: Message, _ stream: StreamName) -> String? {
    switch self {
    case .stream: stream.description
    case .value(let value): value(message)
    }
  }
}

/// Stores messages in Kafka: each is settled by its own delivery report, once all replicas in sync have it.
///
/// A batch is no transaction there. Where some of its messages fail, the others are stored, and those are named
/// (`PartialBatchFailure`) and tried again alone, behind the ones that were stored. So the order of a key holds until a
/// message of it could not be delivered within `message.timeout.ms`; before that, librdkafka tries again in order.
///
/// The idempotent producer stores a message once however often it tries. When it has given up and the batch is written
/// again, a message whose acknowledgement was lost is in the log twice; readers know it by the header `Idempotency-Key`,
/// where the message has an identity.
package final class KafkaSink: Sink {
  private let address: KafkaAddress
  private let key: KafkaKey
  private let logger: Logger
  private let producer: Mutex<KafkaProducer>

  /// Makes a sink.
  ///
  /// Nothing is connected yet; ``check()`` says whether there is a cluster.
  ///
  /// - Throws: ``ProgramError`` that says which parameter is refused, and why.
  package init(_ address: KafkaAddress, key: KafkaKey = .stream, logger: Logger) throws(ProgramError) {
    guard address.group == nil else {
      throw ProgramError("\(address): group= is for reading; leave it out of --to")
    }
    self.address = address
    self.key = key
    self.logger = logger
    producer = Mutex(try KafkaProducer(address, logger: logger))
  }

  package func write(_ messages: [Message], to stream: StreamName) async throws {
    let producer = self.producer.withLock { $0 }
    guard let failures = await producer.send(messages, to: address.topic.name(of: stream), stream: stream, key: key)
    else { throw SinkError(description: "\(address): the producer is closed", isRetryable: true) }
    guard !failures.isEmpty else { return }
    if producer.isSpent { replace(producer) }
    let topic = address.topic.name(of: stream)
    let trouble = await trouble(of: producer, topic, failures)
    // One error for all messages is told as that of the batch.
    if failures.count == messages.count, let first = failures.first?.value, failures.allSatisfy({ $1 == first }) {
      throw explain(first, topic: topic, trouble: trouble)
    }
    throw PartialBatchFailure(failures.mapValues { explain($0, topic: topic, trouble: trouble) })
  }

  /// Why messages were not in time.
  ///
  /// Where the connections work it is the topic, of which librdkafka says nothing then.
  private func trouble(of producer: KafkaProducer, _ topic: String, _ failures: Deliveries.Failures) async -> String? {
    if let trouble = producer.lastTrouble { return trouble }
    guard failures.values.contains(KafkaError(RD_KAFKA_RESP_ERR__MSG_TIMED_OUT)) else { return nil }
    return await producer.check(topic: topic).map { "\($0)\($0.advice)" }
  }

  private func explain(_ error: KafkaError, topic: String, trouble: String?) -> SinkError {
    let isRetryable = error.kind != .refusal
    let cause = isRetryable ? trouble.map { "; last seen: \($0)" } ?? "" : ""
    return SinkError(
      description: "\(address): topic \(topic): \(error)\(error.advice)\(cause)", isRetryable: isRetryable)
  }

  /// Makes a new producer in place of one that has come to its end; its batches are tried again with the new one.
  private func replace(_ spent: KafkaProducer) {
    do {
      try producer.withLock { producer in
        if producer === spent { producer = try KafkaProducer(address, logger: logger) }
      }
      logger.info("a Kafka producer came to its end; another is used", metadata: ["kafka.address": "\(address)"])
    } catch {
      logger.info("no new Kafka producer can be made", metadata: ["error": "\(error)"])
    }
  }

  package func check() async throws {
    let producer = self.producer.withLock { $0 }
    let topic = address.topic.isOfEachStream ? nil : address.topic.name(of: .messages)
    guard let error = await producer.check(topic: topic) else { return }
    throw explain(error, topic: topic ?? "\(address.topic)", trouble: producer.lastTrouble)
  }

  package func close() async throws {
    await producer.withLock { $0 }.close()
  }

  /// For tests: whether messages are on their way.
  var isBusy: Bool { producer.withLock { $0.isBusy } }

  /// For tests: the producer comes to its end by an error.
  func breakDown() {
    producer.withLock { $0.breakDown() }
  }
}
