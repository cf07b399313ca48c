import AggregatorStorage
import AggregatorTestSupport
import Logging
import Synchronization
import Testing

@testable import NATSLog

@Suite("JetStream sink")
struct JetStreamSinkTests {
  @Test func `messages are in the stream when it returns, in their order, under their stream's subject`() async throws {
    let cluster = try await NATSCluster(1)
    let sink = try JetStreamSink(cluster.address("/EVENTS"), logger: quiet)
    try await ready(sink)
    try await sink.write(numbered(0..<1_000), to: .messages)
    try await sink.write(numbered(1_000..<3_000, identity: false), to: StreamName("orders"))
    let address = try cluster.address("")
    #expect(try await payloads(of: "EVENTS", at: address) == (0..<3_000).map { "\($0)" })
    #expect(sink.pending == 0)
    try await sink.close()
    await #expect(throws: SinkError.self) { try await sink.write(numbered(0..<1), to: .messages) }
  }

  @Test func `a repeat is stored once where there are identities, in each stream for itself`() async throws {
    let cluster = try await NATSCluster(1)
    let sink = try JetStreamSink(cluster.address("/EVENTS"), logger: quiet)
    try await ready(sink)
    let orders = try StreamName("orders")
    for _ in 0..<3 { try await sink.write(numbered(0..<50), to: .messages) }
    try await sink.write(numbered(0..<50), to: orders)
    let address = try cluster.address("")
    #expect(try await state(of: "EVENTS", at: address).messages == 100)
    // Equal messages without identity are different ones.
    for _ in 0..<2 {
      try await sink.write(Array(repeating: Message(body: "1", receivedAt: 7), count: 10), to: orders)
    }
    #expect(try await state(of: "EVENTS", at: address).messages == 120)
    try await sink.close()
  }

  @Test func `a message that is too large is refused, and nothing of its batch is stored`() async throws {
    let cluster = try await NATSCluster(1)
    let sink = try JetStreamSink(cluster.address("/EVENTS"), logger: quiet)
    try await ready(sink)
    let large = Message(body: String(repeating: "x", count: 2 << 20), receivedAt: 0)
    let error = await #expect(throws: SinkError.self) {
      try await sink.write(numbered(0..<5) + [large], to: .messages)
    }
    #expect(error?.isRetryable == false)
    #expect(try await state(of: "EVENTS", at: cluster.address("")).messages == 0)
    try await sink.close()
  }

  @Test func `a stream that is unfit is explained`() async throws {
    let cluster = try await NATSCluster(1)
    let address = try cluster.address("")
    try await eventually("JetStream works") {
      (try? await makeStream("SMALL", subject: "SMALL.one", inMemory: false, at: address)) != nil
    }
    try await makeStream("MEMORY", subject: "MEMORY.>", inMemory: true, at: address)
    for (name, words) in [("SMALL", "takes the subjects SMALL.one"), ("MEMORY", "in memory")] {
      let sink = try JetStreamSink(cluster.address("/\(name)"), logger: quiet)
      let error = await #expect(throws: SinkError.self) { try await sink.prepare() }
      #expect(error?.description.contains(words) == true)
      try await sink.close()
    }
  }

  @Test func `secrets are needed where they are asked for, and are never shown`() async throws {
    let cluster = try await NATSCluster(1, more: ["--user", "ann", "--pass", "se:cret"])
    let address = try cluster.address("/EVENTS", user: "ann:se%3Acret@")
    let sink = try JetStreamSink(address, logger: quiet)
    try await ready(sink)
    try await sink.write(numbered(0..<1), to: .messages)
    try await sink.close()
    var dumped = ""
    dump(address, to: &dumped)
    #expect(!"\(address) \(dumped)".contains("cret") && !"\(address) \(dumped)".contains("ann"))

    let wrong = try JetStreamSink(cluster.address("/EVENTS", user: "ann:wrong@"), logger: quiet)
    let error = await #expect(throws: SinkError.self) { try await wrong.write(numbered(0..<1), to: .messages) }
    #expect(error?.isRetryable == true)
    #expect(error?.description.contains("wrong") == false)
  }

  @Test func `a server that goes away and comes back is waited for; each message is stored once`() async throws {
    let cluster = try await NATSCluster(1)
    let sink = try JetStreamSink(cluster.address("/EVENTS?ack_timeout=1s"), logger: quiet)
    try await ready(sink)
    try await sink.write(numbered(0..<100), to: .messages)
    try await cluster.servers[0].kill()
    async let written: Void = sink.write(numbered(100..<400, identity: false), to: .messages)
    try await Task.sleep(for: .milliseconds(300))
    try cluster.servers[0].start()
    try await written
    let found = try await payloads(of: "EVENTS", at: cluster.address(""))
    #expect(found.sorted() == (0..<400).map { "\($0)" }.sorted())
    try await sink.close()
  }

  @Test func `a write that is cancelled ends, and nothing is left waiting`() async throws {
    let cluster = try await NATSCluster(1)
    let sink = try JetStreamSink(cluster.address("/EVENTS?ack_timeout=60s"), logger: quiet)
    try await ready(sink)
    try await cluster.servers[0].kill()
    let writing = Task { try await sink.write(numbered(0..<100), to: .messages) }
    try await eventually("messages are under way") { sink.pending > 0 }
    writing.cancel()
    await #expect(throws: (any Error).self) { try await writing.value }
    #expect(sink.pending == 0)
    try await sink.close()
  }
}
