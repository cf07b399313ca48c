import AggregatorTestSupport
import CKafka
import Foundation

/// Topics on a real cluster, where the mock's commands are not at hand.
enum RealTopic {
  /// Makes one by the command `KAFKA_MAKE_TOPIC`, which gets its name and number of partitions as `$1` and `$2`; without it, by
  /// librdkafka's admin interface.
  static func make(_ name: String, partitions: Int, on bootstrap: String) async throws {
    if let script = ProcessInfo.processInfo.environment["KAFKA_MAKE_TOPIC"], !script.isEmpty {
      try await command("/bin/sh", ["-c", script, "sh", name, "\(partitions)"])
      return
    }
    let code: rd_kafka_resp_err_t = await withCheckedContinuation { continuation in
      DispatchQueue.global().async {
        let configuration = rd_kafka_conf_new()
        rd_kafka_conf_set(configuration, "bootstrap.servers", bootstrap, nil, 0)
        let client = rd_kafka_new(RD_KAFKA_PRODUCER, configuration, nil, 0)
        let queue = rd_kafka_queue_new(client)
        // -1: as many replicas as the cluster makes by default.
        var topic = rd_kafka_NewTopic_new(name, Int32(partitions), -1, nil, 0)
        rd_kafka_CreateTopics(client, &topic, 1, nil, queue)
        let event = rd_kafka_queue_poll(queue, 30_000)
        let code = event.map { rd_kafka_event_error($0) } ?? RD_KAFKA_RESP_ERR__TIMED_OUT
        rd_kafka_event_destroy(event)
        rd_kafka_NewTopic_destroy(topic)
        rd_kafka_queue_destroy(queue)
        rd_kafka_destroy(client)
        continuation.resume(returning: code)
      }
    }
    guard code == RD_KAFKA_RESP_ERR_NO_ERROR else {
      throw CommandFailure(description: "no topic on \(bootstrap): \(String(cString: rd_kafka_err2str(code)))")
    }
  }
}
