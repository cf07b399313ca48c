import CKafka
import Dispatch
import Synchronization

/// How far partitions go, also while nobody reads: then librdkafka's queue is full, it fetches no more, and what it knows
/// gets old.
final class EndsWatch: Sendable {
  private struct State {
    var asked: [Assignment.Place: Int64] = [:]
    var isAsking = false
    var next = ContinuousClock.now
  }

  private let state = Mutex(State())
  /// Who asks.
  private let asking = DispatchGroup()

  /// What is known of these partitions without a request.
  func ends(of places: [Assignment.Place], _ client: KafkaClient) -> [Assignment.Place: Int64] {
    let asked = state.withLock { $0.asked }
    var ends: [Assignment.Place: Int64] = [:]
    for place in places {
      var low: Int64 = -1
      var high: Int64 = -1
      rd_kafka_get_watermark_offsets(client.pointer, place.topic, place.number, &low, &high)
      let end = max(high, asked[place] ?? -1)
      if end >= 0 { ends[place] = end }
    }
    return ends
  }

  /// Asks the leaders in a thread of its own, at most every five seconds.
  ///
  /// It takes about a second at most, whether they answer or not.
  func ask(_ places: [Assignment.Place], _ client: KafkaClient) {
    let mayAsk = state.withLock { state in
      guard !state.isAsking, !places.isEmpty, ContinuousClock.now >= state.next else { return false }
      state.isAsking = true
      state.next = .now + .seconds(5)
      return true
    }
    guard mayAsk else { return }
    asking.enter()
    KafkaThread.start("kafka lag") { [self] in
      let asked = Self.asked(places, client)
      state.withLock {
        $0.asked = asked
        $0.isAsking = false
      }
      asking.leave()
    }
  }

  /// Asks for the offset behind the newest message, which is that of the time "now".
  ///
  /// Not by `rd_kafka_query_watermark_offsets`: while a broker is away, that does not come back, whatever its time-out.
  private static func asked(_ places: [Assignment.Place], _ client: KafkaClient) -> [Assignment.Place: Int64] {
    let list = rd_kafka_topic_partition_list_new(Int32(places.count))
    defer { rd_kafka_topic_partition_list_destroy(list) }
    for place in places {
      rd_kafka_topic_partition_list_add(list, place.topic, place.number).pointee.offset = Int64(RD_KAFKA_OFFSET_END)
    }
    guard let list, rd_kafka_offsets_for_times(client.pointer, list, 1_000) == RD_KAFKA_RESP_ERR_NO_ERROR else {
      return [:]
    }
    var asked: [Assignment.Place: Int64] = [:]
    for index in 0..<Int(list.pointee.cnt) {
      let element = list.pointee.elems[index]
      guard element.err == RD_KAFKA_RESP_ERR_NO_ERROR, element.offset >= 0 else { continue }
      asked[Assignment.Place(topic: String(cString: element.topic), number: element.partition)] = element.offset
    }
    return asked
  }

  /// Returns when nobody asks any more.
  ///
  /// Blocks for about a second at most.
  func end() {
    asking.wait()
  }
}
