import AggregatorStorage
import AggregatorTestSupport
import Foundation
import Logging
import Testing

@testable import KafkaLog

@Suite(.timeLimit(.minutes(3))) struct KafkaConsumerTests {
  @Test func `Messages of another client are read, each with its place as identity`() async throws {
    let cluster = try await KafkaCluster(partitions: 1)
    try await cluster.produce(["k\t{\"n\":0}", "k\t{\"n\":1}"])
    try await cluster.produce(["k\t{\"n\":2}"], "-H", "Idempotency-Key=mine", "-H", "Stream=orders")
    try await cluster.produce(["k\t"], "-Z")
    try await cluster.produce(["k\t{\"n\":3}"], "-H", "Stream=No Stream")
    let consumer = try cluster.consumer()
    let messages = try await take(5, from: consumer)
    #expect(messages.map(\.message.body) == ["{\"n\":0}", "{\"n\":1}", "{\"n\":2}", "null", "{\"n\":3}"])
    #expect(messages.map(\.position) == [0, 1, 2, 3, 4])
    #expect(messages.map(\.partition.description) == Array(repeating: "\(cluster.topic)/0", count: 5))
    #expect(messages.map(\.stream.description) == ["messages", "messages", "orders", "messages", "messages"])
    #expect(messages[0].message.identity == "kafka/\(cluster.topic)/0/0")
    #expect(messages[2].message.identity == "mine")
    #expect(messages.allSatisfy { abs(Double($0.message.receivedAt) / 1e6 - Date().timeIntervalSince1970) < 600 })
    await consumer.close()

    let strict = try cluster.consumer("group=\(cluster.topic)-strict", "identity=offset")
    #expect(try await take(3, from: strict)[2].message.identity == "kafka/\(cluster.topic)/0/2")
    await strict.close()
  }

  @Test func `Topics of streams are read by one member, each into its stream`() async throws {
    let cluster = try await KafkaCluster()
    let sink = try KafkaSink(cluster.address("\(cluster.topic).{stream}"), logger: Logger(label: "test"))
    try await sink.write(numbered(0..<2), to: StreamName("a"))
    try await sink.write(numbered(2..<3), to: StreamName("b"))
    try await sink.close()
    let consumer = try KafkaConsumer(
      cluster.address(
        "\(cluster.topic).{stream}", "group=\(cluster.topic)", "topic.metadata.refresh.interval.ms=500",
        "session.timeout.ms=6000",
        "heartbeat.interval.ms=200"),
      logger: Logger(label: "test"))
    let messages = try await take(3, from: consumer)
    #expect(Set(messages.map { "\($0.stream) \($0.message.body)" }) == ["a {\"n\":0}", "a {\"n\":1}", "b {\"n\":2}"])
    await consumer.close()
  }

  @Test func `Bytes that are no text are kept`() async throws {
    let cluster = try await KafkaCluster(partitions: 1)
    let folder = try TemporaryFolder()
    try Data([0xFF, 0x00, 0x41]).write(to: URL(fileURLWithPath: folder.file("bytes")))
    try await command("/usr/bin/kcat", ["-b", cluster.bootstrap, "-t", cluster.topic, "-P", folder.file("bytes")])
    let consumer = try cluster.consumer()
    #expect(try await take(1, from: consumer).first?.message.body == "{\"base64\":\"/wBB\"}")
    await consumer.close()
  }

  @Test func `Acknowledgements out of order commit nothing past what is not acknowledged`() async throws {
    let cluster = try await KafkaCluster(partitions: 1)
    try await cluster.produce((0..<10).map { "{\"n\":\($0)}" })
    let consumer = try cluster.consumer()
    let messages = try await take(10, from: consumer)
    await consumer.acknowledge([messages[0], messages[2], messages[9]])
    let partition = messages[0].partition
    try await eventually("the first is committed") { consumer.committed[partition] != nil }
    #expect(consumer.committed[partition] == 1)
    await consumer.acknowledge([messages[1]])
    try await eventually("up to the gap") { consumer.committed[partition] == 3 }
    await consumer.close()

    let next = try cluster.consumer()
    #expect(try await take(7, from: next).map(\.position) == Array(3..<10))
    await next.close()
  }

  @Test func `A clean end commits, and the next member begins behind it`() async throws {
    let cluster = try await KafkaCluster(partitions: 2)
    try await cluster.produce((0..<100).map { "k\($0)\t{\"n\":\($0)}" })
    var options = KafkaConsumer.Options()
    options.commitInterval = .seconds(60)
    let first = try cluster.consumer(options: options)
    let messages = try await take(60, from: first)
    await first.acknowledge(messages)
    first.stop()
    #expect(try await first.next(atMost: 10).isEmpty)
    await first.close()
    #expect(!first.owns(messages[0]))

    let second = try cluster.consumer()
    let rest = try await take(40, from: second)
    let all = Set((messages + rest).compactMap { number(in: $0.message.body) })
    #expect(all == Set(0..<100))
    await second.close()
  }

  @Test func `What is given back comes again, before what follows`() async throws {
    let cluster = try await KafkaCluster(partitions: 1)
    try await cluster.produce((0..<10).map { "{\"n\":\($0)}" })
    let consumer = try cluster.consumer()
    let messages = try await take(5, from: consumer)
    await consumer.giveBack(Array(messages[1...3]))
    let again = try await take(8, from: consumer)
    #expect(again.map(\.position) == [1, 2, 3, 5, 6, 7, 8, 9])
    #expect(again.map(\.redeliveries) == [1, 1, 1, 0, 0, 0, 0, 0])
    await consumer.acknowledge(again + [messages[0], messages[4]])
    try await eventually("all are committed") { consumer.committed[messages[0].partition] == 10 }
    try await eventually("it is seen") { consumer.lag.redelivered == 3 && consumer.lag.messages == 0 }
    #expect(consumer.lag.assigned == ["\(cluster.topic)/0"])
    await consumer.close()
  }

  @Test func `One who waits for messages may be cancelled, and nothing is lost with him`() async throws {
    let cluster = try await KafkaCluster(partitions: 1)
    let consumer = try cluster.consumer()
    let waiting = Task { try await consumer.next(atMost: 10) }
    try await eventually("partitions are assigned") { !consumer.lag.assigned.isEmpty }
    waiting.cancel()
    await #expect(throws: CancellationError.self) { try await waiting.value }
    try await cluster.produce(["{\"n\":0}", "{\"n\":1}"])
    #expect(try await take(2, from: consumer).map(\.position) == [0, 1])
    await consumer.close()
    #expect(try await consumer.next(atMost: 1).isEmpty)
  }

  @Test(.enabled(if: KafkaCluster.isMock))
  func `Errors of fetches and commits, and a broker that is gone for a while, lose nothing`() async throws {
    let cluster = try await KafkaCluster(brokers: 3, partitions: 3)
    let consumer = try cluster.consumer("reconnect.backoff.max.ms=200", "fetch.error.backoff.ms=50")
    try await cluster.produce((0..<300).map { "k\($0)\t{\"n\":\($0)}" })
    var taken = try await take(100, from: consumer)
    // API 1 is Fetch, 8 OffsetCommit, 12 Heartbeat: not the leader, unknown, timed out; rebalance, coordinator, timed out.
    try await cluster.command("errors 1 6 -1 7")
    try await cluster.command("errors 8 27 16 14 7")
    await consumer.acknowledge(taken)
    taken += try await take(100, from: consumer)
    try await cluster.command("down 1")
    try await cluster.command("down 2")
    try await cluster.command("up 1")
    try await cluster.command("up 2")
    await consumer.acknowledge(taken)
    // Where the coordinator was away for longer than a session, the partitions are assigned anew, and what was not committed
    // comes again; so all that comes is acknowledged.
    let rest = Task {
      var rest: [LogMessage] = []
      while true {
        let more = try await consumer.next(atMost: 100)
        guard !more.isEmpty else { return rest }
        await consumer.acknowledge(more)
        rest += more
      }
    }
    try await eventually("all are committed") { consumer.committed.values.reduce(0, +) == 300 }
    consumer.stop()
    taken += try await rest.value
    #expect(Set(taken.compactMap { number(in: $0.message.body) }) == Set(0..<300))
    // Nothing twice as long as it is assigned once.
    #expect(Set(taken.map { [$0.ticket, $0.position] }).count == taken.count)
    await consumer.close()
  }

  @Test func `A member for which nobody asks stays one`() async throws {
    let cluster = try await KafkaCluster(partitions: 1)
    try await cluster.produce((0..<100).map { "{\"n\":\($0)}" })
    let consumer = try cluster.consumer("max.poll.interval.ms=6000")
    let first = try await take(10, from: consumer)
    // Longer than a member may be away: the time itself is what is tested.
    try await Task.sleep(for: .seconds(9))
    #expect(consumer.owns(first[0]))
    await consumer.acknowledge(first)
    let rest = try await take(90, from: consumer)
    #expect(rest.map(\.position) == Array(10..<100))
    #expect(rest[0].ticket == first[0].ticket)
    await consumer.close()
  }

  @Test func `The lag is known also while nobody asks`() async throws {
    let cluster = try await KafkaCluster(partitions: 1)
    try await cluster.produce((0..<50).map { "{\"n\":\($0)}" })
    // As little in its queue as can be, so that it stops fetching.
    let consumer = try cluster.consumer("queued.min.messages=1", "queued.max.messages.kbytes=1")
    let first = try await take(1, from: consumer)
    #expect(first.count == 1)
    try await cluster.produce((50..<150).map { "{\"n\":\($0)}" })
    try await eventually("all that is not acknowledged is counted") { consumer.lag.messages == 150 }
    await consumer.acknowledge(first)
    try await eventually("what is acknowledged is not") { consumer.lag.messages == 149 }
    await consumer.close()
  }

  @Test(.enabled(if: KafkaCluster.isMock))
  func `A topic that may not be read ends it with the reason`() async throws {
    let cluster = try await KafkaCluster(partitions: 1)
    try await cluster.command("topic-error \(cluster.topic) 29")
    let consumer = try cluster.consumer()
    let error = await #expect(throws: ProgramError.self) { try await consumer.next(atMost: 1) }
    #expect(error?.description.contains("TOPIC_AUTHORIZATION_FAILED") == true)
    await consumer.close()
  }

  @Test(.enabled(if: KafkaCluster.isMock))
  func `A cluster that is not there is waited for, and closing does not wait for it`() async throws {
    let cluster = try await KafkaCluster(partitions: 1)
    try await cluster.command("down 1")
    let late = try cluster.consumer("reconnect.backoff.max.ms=200")
    let waiting = Task { try await late.next(atMost: 10) }
    try await cluster.command("up 1")
    try await cluster.produce(["{\"n\":0}"])
    #expect(try await waiting.value.count == 1)
    try await cluster.command("down 1")
    await late.close()
    var options = KafkaConsumer.Options()
    options.closeTimeout = .seconds(1)
    let never = try cluster.consumer(options: options)
    await never.close()
  }
}
