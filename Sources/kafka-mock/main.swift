import CKafka
import Foundation

// A Kafka cluster in memory for tests: librdkafka's mock, in a process of its own so that clients talk to it over sockets.
//
//   kafka-mock BROKERS [TOPIC:PARTITIONS]…
//
// It prints `bootstrap.servers` as its first line, answers each command on standard input with a line `ok` or `error …`,
// and ends with standard input.

func say(_ line: String) {
  FileHandle.standardOutput.write(Data("\(line)\n".utf8))
}

func end(_ why: String) -> Never {
  FileHandle.standardError.write(Data("kafka-mock: \(why)\n".utf8))
  exit(1)
}

let arguments = CommandLine.arguments.dropFirst()
guard let brokers = arguments.first.flatMap({ Int32($0) }), brokers > 0 else {
  end("give the number of brokers, and TOPIC:PARTITIONS of each topic")
}
var reason = [CChar](repeating: 0, count: 512)
let configuration = rd_kafka_conf_new()
// Not that it has no brokers to connect to.
rd_kafka_conf_set(configuration, "log_level", "4", nil, 0)
guard let client = rd_kafka_new(RD_KAFKA_PRODUCER, configuration, &reason, reason.count),
  let cluster = rd_kafka_mock_cluster_new(client, brokers)
else { end("no cluster: \(String(decoding: reason.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self))") }

/// Does what a command says.
func perform(_ words: [String]) -> rd_kafka_resp_err_t? {
  let numbers = words.map { Int32($0) }
  switch (words.first, words.count) {
  case ("down", 2): return numbers[1].map { rd_kafka_mock_broker_set_down(cluster, $0) }
  case ("up", 2): return numbers[1].map { rd_kafka_mock_broker_set_up(cluster, $0) }
  case ("delay", 3):
    guard let broker = numbers[1], let milliseconds = numbers[2] else { return nil }
    return rd_kafka_mock_broker_set_rtt(cluster, broker, milliseconds)
  case ("topic", 3): return numbers[2].map { rd_kafka_mock_topic_create(cluster, words[1], $0, min(brokers, 3)) }
  case ("topic-error", 3):
    guard let error = numbers[2] else { return nil }
    rd_kafka_mock_topic_set_error(cluster, words[1], rd_kafka_resp_err_t(rawValue: error))
    return RD_KAFKA_RESP_ERR_NO_ERROR
  case ("leader", 4):
    guard let partition = numbers[2], let broker = numbers[3] else { return nil }
    return rd_kafka_mock_partition_set_leader(cluster, words[1], partition, broker)
  case ("errors", 3...):  // errors API CODE…: the next answers to requests of that kind
    guard let api = numbers[1] else { return nil }
    let errors = numbers.dropFirst(2).compactMap { $0 }.map(rd_kafka_resp_err_t.init(rawValue:))
    guard errors.count == words.count - 2 else { return nil }
    rd_kafka_mock_push_request_errors_array(cluster, Int16(api), errors.count, errors)
    return RD_KAFKA_RESP_ERR_NO_ERROR
  case ("well", 2):  // well API: no more errors of those
    guard let api = numbers[1] else { return nil }
    rd_kafka_mock_clear_request_errors(cluster, Int16(api))
    return RD_KAFKA_RESP_ERR_NO_ERROR
  default: return nil
  }
}

for topic in arguments.dropFirst() {
  let parts = topic.split(separator: ":").map(String.init)
  guard parts.count == 2, perform(["topic"] + parts) == RD_KAFKA_RESP_ERR_NO_ERROR else {
    end("'\(topic)' is no TOPIC:PARTITIONS, or cannot be made")
  }
}
say(String(cString: rd_kafka_mock_cluster_bootstraps(cluster)))
while let line = readLine() {
  switch perform(line.split(separator: " ").map(String.init)) {
  case RD_KAFKA_RESP_ERR_NO_ERROR: say("ok")
  case let error?: say("error \(String(cString: rd_kafka_err2name(error)))")
  case nil: say("error '\(line)' is no command")
  }
}
rd_kafka_mock_cluster_destroy(cluster)
rd_kafka_destroy(client)
