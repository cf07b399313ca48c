import AggregatorStorage
import AggregatorTestSupport
import Foundation
import KafkaLog
import Logging
import Synchronization
import Testing

/// A cluster for one test: librdkafka's mock in a process of its own; or a real one, `KAFKA_BOOTSTRAP=HOST:PORT`.
final class KafkaCluster: Sendable {
  let bootstrap: String
  /// A topic of the test's own.
  let topic: String
  private let mock: KafkaMock?

  /// Whether it can be tortured.
  static var isMock: Bool { real == nil }
  private static let real = ProcessInfo.processInfo.environment["KAFKA_BOOTSTRAP"].flatMap { $0.isEmpty ? nil : $0 }

  // Members that share a topic need a round trip, as a network has one. The leader of a group asks for metadata before it says
  // who gets what; on loopback its answer may be there before another member has asked for its part, and the mock tells that
  // member INVALID_REQUEST then (a real broker gives it its part). It joins once more, and in that second rebalance the mock
  // takes no commits at all, so that partitions are given up without.
  /// Starts it, and makes the topic; the mock's brokers answer after `roundTrip` milliseconds.
  init(brokers: Int = 1, partitions: Int = 4, roundTrip: Int = 0) async throws {
    topic = "test-\(UUID().uuidString.prefix(8).lowercased())"
    if let bootstrap = Self.real {
      mock = nil
      self.bootstrap = bootstrap
      try await RealTopic.make(topic, partitions: partitions, on: bootstrap)
    } else {
      let mock = try KafkaMock(brokers: brokers, topics: ["\(topic):\(partitions)"])
      self.mock = mock
      bootstrap = try await mock.bootstrap()
      if roundTrip > 0 {
        for broker in 1...brokers { try await command("delay \(broker) \(roundTrip)") }
      }
    }
  }

  /// Tells the mock to do something; see `kafka-mock`.
  func command(_ line: String) async throws {
    try await #require(mock).perform(line)
  }

  /// The address of the topic, or of another.
  func address(_ topic: String? = nil, _ parameters: String...) throws -> KafkaAddress {
    let query = parameters.isEmpty ? "" : "?\(parameters.joined(separator: "&"))"
    return try KafkaAddress("kafka://\(bootstrap)/\(topic ?? self.topic)\(query)")
  }

  func sink(_ parameters: String..., key: KafkaKey = .stream) throws -> KafkaSink {
    let query = parameters.isEmpty ? "" : "?\(parameters.joined(separator: "&"))"
    return try KafkaSink(
      KafkaAddress("kafka://\(bootstrap)/\(topic)\(query)"), key: key, logger: Logger(label: "test"))
  }

  /// A member of the topic's own group, so that tests on one cluster are not in each other's way.
  ///
  /// A rebalance of the mock takes as long as a session but a second; real brokers take no shorter session than six.
  func consumer(_ parameters: String..., options: KafkaConsumer.Options = .init()) throws -> KafkaConsumer {
    let session = Self.isMock ? 3_000 : 6_000
    let all = ["group=\(topic)", "session.timeout.ms=\(session)", "heartbeat.interval.ms=200"] + parameters
    return try KafkaConsumer(
      KafkaAddress("kafka://\(bootstrap)/\(topic)?\(all.joined(separator: "&"))"), options: options,
      logger: Logger(label: "test"))
  }

  // MARK: kcat, an independent client

  /// Produces lines, with a key before a tab where there is one.
  func produce(_ lines: [String], _ options: String...) async throws {
    let input = lines.map { $0 + "\n" }.joined()
    try await AggregatorTestSupport.command(
      "/usr/bin/kcat", ["-b", bootstrap, "-t", topic, "-P", "-K", "\t"] + options, input: input)
  }

  /// What is in the topic, a line a message, in this format of kcat's.
  func read(_ format: String, topic: String? = nil) async throws -> [String] {
    let output = try await AggregatorTestSupport.command(
      "/usr/bin/kcat",
      ["-b", bootstrap, "-t", topic ?? self.topic, "-C", "-e", "-q", "-o", "beginning", "-f", format + "\\n"])
    return output.split(separator: "\n").map(String.init)
  }
}

/// Takes the whole of what a consumer has, until so many messages have come.
func take(_ count: Int, from consumer: KafkaConsumer, atMost limit: Int = 100) async throws -> [LogMessage] {
  var messages: [LogMessage] = []
  while messages.count < count {
    let more = try await consumer.next(atMost: min(limit, count - messages.count))
    guard !more.isEmpty else { break }
    messages += more
  }
  return messages
}

func numbered(_ range: Range<Int>, identity: (Int) -> String? = { _ in nil }) -> [Message] {
  range.map { Message(body: "{\"n\":\($0)}", receivedAt: 1_700_000_000_000_000, identity: identity($0)) }
}

func number(in body: some StringProtocol) -> Int? {
  String(body).firstMatch(of: /"n":(\d+)/).flatMap { Int($0.1) }
}
