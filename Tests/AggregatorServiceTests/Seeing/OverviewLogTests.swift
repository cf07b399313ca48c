import AggregatorStorage
import Testing

@testable import AggregatorService

@Suite("Overview of a log")
struct OverviewLogTests {
  private func partitions(_ behind: [Int?]) -> LogLag {
    var lag = LogLag()
    lag.assigned = behind.indices.map { "orders/\($0)" }
    for (index, count) in behind.enumerated() { lag.behind["orders/\(index)"] = count }
    lag.messages = behind.contains(nil) ? nil : behind.reduce(0) { $0 + ($1 ?? 0) }
    return lag
  }

  private func shared(_ behind: Int?) -> LogLag {
    var lag = LogLag()
    lag.isShared = true
    lag.messages = behind
    lag.assigned = ["EVENTS/storing (EVENTS.orders)"]
    lag.behind["EVENTS/storing (EVENTS.orders)"] = behind
    return lag
  }

  @Test func `it says in words how far behind, and what is read here`() {
    var unfound = LogLag()
    unfound.isShared = true
    for (lag, sentence) in [
      (partitions([10_000, 20_112, 0]), "30,112 messages behind; 3 partitions here."),
      (partitions([1]), "1 message behind; 1 partition here."),
      (partitions([0, 0]), "Nothing is behind; 2 partitions here."),
      (partitions([5, nil]), "It is not known how far behind; 2 partitions here."),
      (
        partitions([]),
        "Nothing is behind; no partition here: other members have them, or they are being shared out."
      ),
      (shared(7_000), "7,000 messages behind; shared by all members of EVENTS/storing (EVENTS.orders)."),
      (shared(nil), "It is not known how far behind; shared by all members of EVENTS/storing (EVENTS.orders)."),
      (unfound, "It is not known how far behind; the durable consumer has not been found yet."),
    ] {
      #expect(Overview.Log(lag).sentence == sentence)
    }
  }

  @Test func `of many partitions those are told apart that are furthest behind`() {
    let log = Overview.Log(partitions((0..<1_000).map { $0 % 500 }))
    #expect(log.assigned == 1_000 && log.partitions.count == Overview.Log.mostPartitions)
    #expect(log.partitions.allSatisfy { ($0.behind ?? 0) >= 450 })
    #expect(log.partitions.map(\.name) == log.partitions.map(\.name).sorted())
    #expect(log.behind == 1_000 * 499 / 2)
  }

  @Test func `metrics have a series for each partition, and what is not known is no number`() throws {
    var lag = partitions([3, nil])
    lag.redelivered = 9
    var written = PrometheusText()
    Overview.Log(lag).write(to: &written)
    let text = try PrometheusParser(written.text)
    #expect(text.value("aggregator_log_behind_messages")?.isNaN == true)
    #expect(text.value("aggregator_log_partition_behind_messages", ["partition": "orders/0"]) == 3)
    #expect(text.value("aggregator_log_partition_behind_messages", ["partition": "orders/1"])?.isNaN == true)
    #expect(text.value("aggregator_log_assigned_partitions") == 2)
    #expect(text.value("aggregator_log_redelivered_messages_total") == 9)
    #expect(text.families["aggregator_log_redelivered_messages_total"]?.type == "counter")
  }
}
