import AggregatorStorage
import AggregatorTestSupport
import Batching
import Foundation
import Logging
import Testing

@testable import KafkaLog

private let products = "errors 0"  // API key of Produce

@Suite(.timeLimit(.minutes(2))) struct KafkaSinkTests {
  @Test func `Another client reads what was stored, with its key, time and headers`() async throws {
    let cluster = try await KafkaCluster()
    let sink = try cluster.sink()
    try await sink.check()
    let orders = try StreamName("orders")
    let message = Message(body: "{\"é\":1.50}", receivedAt: 1_700_000_000_123_456, identity: "i-1")
    try await sink.write([message, Message(body: "2", receivedAt: 1_999)], to: orders)
    try await sink.write([], to: orders)
    try await sink.close()
    let lines = try await cluster.read("%k|%T|%h|%s")
    #expect(
      lines == ["orders|1700000000123|Stream=orders,Idempotency-Key=i-1|{\"é\":1.50}", "orders|1|Stream=orders|2"])
  }

  @Test func `Each stream has a topic of its own where the address says so`() async throws {
    let cluster = try await KafkaCluster()
    let sink = try KafkaSink(cluster.address("\(cluster.topic).{stream}"), logger: Logger(label: "test"))
    try await sink.write(numbered(0..<2), to: StreamName("a"))
    try await sink.write(numbered(2..<3), to: StreamName("b"))
    try await sink.check()
    try await sink.close()
    #expect(try await cluster.read("%s", topic: "\(cluster.topic).a") == ["{\"n\":0}", "{\"n\":1}"])
    #expect(try await cluster.read("%s", topic: "\(cluster.topic).b") == ["{\"n\":2}"])
  }

  @Test func `Messages of a key are in one partition, in their order`() async throws {
    let cluster = try await KafkaCluster(partitions: 4)
    let sink = try cluster.sink(key: .value { number(in: $0.body).map { "key-\($0 % 20)" } })
    for batch in 0..<6 { try await sink.write(numbered(batch * 500..<(batch + 1) * 500), to: .messages) }
    try await sink.close()
    let lines = try await cluster.read("%k|%p|%s")
    #expect(lines.count == 3_000)
    let byKey = Dictionary(grouping: lines.map { $0.split(separator: "|") }, by: \.[0])
    #expect(byKey.count == 20)
    for messages in byKey.values {
      #expect(Set(messages.map(\.[1])).count == 1)
      let numbers = messages.compactMap { number(in: $0[2]) }
      #expect(numbers == numbers.sorted() && numbers.count == 150)
    }
    #expect(Set(lines.map { $0.split(separator: "|")[1] }).count > 1)
  }

  @Test(.enabled(if: KafkaCluster.isMock))
  func `Errors that pass are tried again in order, and nothing is stored twice`() async throws {
    let cluster = try await KafkaCluster(brokers: 3, partitions: 1)
    // One request at a time, because the mock does not look at sequence numbers, as brokers do: it would store the second
    // before the first is tried again.
    let sink = try cluster.sink("max.in.flight.requests.per.connection=1")
    try await sink.write(numbered(0..<10), to: .messages)
    // Not the leader, timed out, not enough replicas, not enough after append, and the connection breaks.
    try await cluster.command("\(products) 6 7 19 -195 7")
    for batch in 1..<20 { try await sink.write(numbered(batch * 10..<(batch + 1) * 10), to: .messages) }
    try await sink.close()
    #expect(try await cluster.read("%s").compactMap { number(in: $0) } == Array(0..<200))
  }

  @Test func `A message that is too large is refused alone`() async throws {
    let cluster = try await KafkaCluster()
    let sink = try cluster.sink("message.max.bytes=2000")
    let large = Message(body: "\"\(String(repeating: "x", count: 5_000))\"", receivedAt: 0)
    let messages = numbered(0..<2) + [large] + numbered(3..<5)
    let error = await #expect(throws: PartialBatchFailure.self) { try await sink.write(messages, to: .messages) }
    let failures = try #require(error?.failures)
    #expect(Array(failures.keys) == [2])
    let failure = try #require(failures[2] as? SinkError)
    #expect(!failure.isRetryable)
    #expect(failure.description.contains("MSG_SIZE_TOO_LARGE"))
    #expect(!failure.description.contains("xxx"))
    try await sink.close()
    #expect(try await cluster.read("%s").compactMap { number(in: $0) } == [0, 1, 3, 4])
  }

  @Test(.enabled(if: KafkaCluster.isMock))
  func `What an operator has to mend is waited for, a topic that is not there is refused`() async throws {
    let cluster = try await KafkaCluster()
    let sink = try cluster.sink("message.timeout.ms=3000", "topic.metadata.propagation.max.ms=500")
    try await cluster.command("topic-error \(cluster.topic) 29")
    let forbidden = await #expect(throws: SinkError.self) { try await sink.write(numbered(0..<2), to: .messages) }
    #expect(forbidden?.isRetryable == true)
    #expect(forbidden?.description.contains("TOPIC_AUTHORIZATION_FAILED") == true, "\(forbidden as Any)")
    try await cluster.command("topic-error \(cluster.topic) 3")
    let other = try cluster.sink("message.timeout.ms=3000", "topic.metadata.propagation.max.ms=500")
    let unknown = await #expect(throws: SinkError.self) { try await other.write(numbered(0..<2), to: .messages) }
    #expect(unknown?.isRetryable == false)
    #expect(unknown?.description.contains("make the topic") == true)
    await #expect(throws: SinkError.self) { try await other.check() }
    try await sink.close()
    try await other.close()
  }

  @Test(.enabled(if: KafkaCluster.isMock))
  func `An outage is told as one that passes, and then the same messages are stored`() async throws {
    let cluster = try await KafkaCluster()
    let sink = try cluster.sink("message.timeout.ms=1000", "reconnect.backoff.max.ms=200")
    // A second is short for the first message where the machine is busy.
    try await eventually("the sink works") { (try? await sink.write(numbered(0..<1), to: .messages)) != nil }
    try await cluster.command("down 1")
    let error = await #expect(throws: SinkError.self) { try await sink.write(numbered(1..<3), to: .messages) }
    #expect(error?.isRetryable == true)
    #expect(error?.description.contains(cluster.bootstrap) == true)
    await #expect(throws: SinkError.self) { try await sink.check() }
    try await cluster.command("up 1")
    try await eventually("the sink works again") {
      do {
        try await sink.write(numbered(1..<3), to: .messages)
        return true
      } catch let error as SinkError {
        #expect(error.isRetryable)
        return false
      }
    }
    try await sink.close()
    #expect(Set(try await cluster.read("%s").compactMap { number(in: $0) }) == [0, 1, 2])
  }

  @Test func `A full queue of the client is waited for`() async throws {
    let cluster = try await KafkaCluster(partitions: 1)
    let sink = try cluster.sink("queue.buffering.max.messages=10")
    try await withThrowingTaskGroup(of: Void.self) { group in
      for writer in 0..<4 {
        group.addTask { try await sink.write(numbered(writer * 500..<(writer + 1) * 500), to: .messages) }
      }
      try await group.waitForAll()
    }
    try await sink.close()
    let numbers = try await cluster.read("%s").compactMap { number(in: $0) }
    for writer in 0..<4 {
      #expect(numbers.filter { $0 / 500 == writer } == Array(writer * 500..<(writer + 1) * 500))
    }
  }

  @Test func `A producer that comes to its end is replaced`() async throws {
    let cluster = try await KafkaCluster(partitions: 1)
    let sink = try cluster.sink()
    try await sink.write(numbered(0..<3), to: .messages)
    sink.breakDown()
    let error = await #expect(throws: SinkError.self) { try await sink.write(numbered(3..<5), to: .messages) }
    #expect(error?.isRetryable == true)
    try await sink.write(numbered(3..<5), to: .messages)
    try await sink.close()
    #expect(try await cluster.read("%s").compactMap { number(in: $0) } == Array(0..<5))
  }

  @Test func `Closing waits for what is on its way, and then nothing is taken`() async throws {
    let cluster = try await KafkaCluster(partitions: 1)
    if KafkaCluster.isMock { try await cluster.command("delay 1 300") }
    let sink = try cluster.sink()
    let write = Task { try await sink.write(numbered(0..<100), to: .messages) }
    try await eventually("it is on its way") { sink.isBusy }
    try await sink.close()
    try await write.value
    await #expect(throws: SinkError.self) { try await sink.write(numbered(0..<1), to: .messages) }
    if KafkaCluster.isMock { try await cluster.command("delay 1 0") }
    #expect(try await cluster.read("%s").count == 100)
  }
}
