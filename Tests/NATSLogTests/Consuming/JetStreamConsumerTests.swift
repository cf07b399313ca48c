import AggregatorStorage
import AggregatorTestSupport
import Logging
import Synchronization
import Testing

@testable import NATSLog

/// A member that is killed when it has stored and not yet acknowledged: what it says does not arrive.
final class SilentConsumer: LogConsumer {
  private let base: JetStreamConsumer

  init(_ base: JetStreamConsumer) { self.base = base }

  func next(atMost limit: Int) async throws -> [LogMessage] { try await base.next(atMost: limit) }
  func owns(_ message: LogMessage) -> Bool { base.owns(message) }
  func acknowledge(_ messages: [LogMessage]) async {}
  func giveBack(_ messages: [LogMessage]) async {}
  func stop() { base.stop() }
  func close() async {}
  var lag: LogLag { base.lag }
}

@Suite("JetStream consumer")
struct JetStreamConsumerTests {
  private let folder: TemporaryFolder
  private var path: String { folder.file("messages.db") }

  init() throws {
    folder = try TemporaryFolder()
  }

  private func member(_ cluster: NATSCluster, _ parameters: String = "") throws -> JetStreamConsumer {
    try JetStreamConsumer(cluster.address("?stream=EVENTS&durable=storing\(parameters)"), logger: quiet)
  }

  private func pipeline(
    _ consumer: any LogConsumer, _ sink: any Sink, keep: LogBurial.Keep? = nil
  ) throws -> LogPipeline {
    var options = LogPipelineOptions()
    options.batchSize = 50
    options.linger = .milliseconds(2)
    options.initialBackoff = .milliseconds(5)
    options.maximumBackoff = .milliseconds(50)
    return try LogPipeline(consumer: consumer, sink: sink, keep: keep, options: options, logger: quiet)
  }

  /// Runs pipelines for the time of `body`.
  private func run(_ pipelines: [LogPipeline], _ body: () async throws -> Void) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      for pipeline in pipelines { group.addTask { try await pipeline.run() } }
      defer { for pipeline in pipelines { pipeline.shutdown() } }
      try await body()
      for pipeline in pipelines { pipeline.shutdown() }
      try await group.waitForAll()
    }
  }

  private func fill(_ cluster: NATSCluster, _ count: Int, streams: [String] = ["messages"]) async throws {
    let sink = try JetStreamSink(cluster.address("/EVENTS"), logger: quiet)
    try await ready(sink)
    for stream in streams { try await sink.write(numbered(0..<count, identity: false), to: StreamName(stream)) }
    try await sink.close()
  }

  @Test func `messages go into SQLite by subject, in order, once`() async throws {
    let cluster = try await NATSCluster(1)
    try await fill(cluster, 1_000, streams: ["messages", "orders", "clicks"])
    let sink = try SQLiteSink(path: path)
    let consumer = try member(cluster)
    try await run([pipeline(consumer, sink)]) {
      try await eventually("all are stored") {
        try ["messages", "orders", "clicks"].allSatisfy { try bodies(in: $0, of: path).count == 1_000 }
      }
      try await eventually("nothing is left") {
        let found = try await inspect(cluster.address("")) { [plan = consumer.plan] in try plan.find($0) }
        return found?.behind == 0
      }
    }
    for stream in ["messages", "orders", "clicks"] {
      #expect(try bodies(in: stream, of: path) == (0..<1_000).map { "\($0)" })
    }
    try await sink.close()
  }

  @Test func `two members share the work, and nothing is stored twice`() async throws {
    let cluster = try await NATSCluster(1)
    try await fill(cluster, 4_000)
    let sinks = [MemorySink(), MemorySink()]
    let pipelines = try sinks.map { try pipeline(member(cluster), $0) }
    try await run(pipelines) {
      try await eventually("all are stored") { sinks.flatMap(\.batches).flatMap { $0 }.count == 4_000 }
    }
    #expect(Set(sinks.flatMap(\.batches).flatMap { $0 }).count == 4_000)
    #expect(sinks.allSatisfy { !$0.batches.isEmpty })
  }

  @Test func `a member that dies between the commit and the acknowledgement stores nothing twice`() async throws {
    let cluster = try await NATSCluster(1)
    try await fill(cluster, 300)
    let sink = try SQLiteSink(path: path)
    let dying = try member(cluster, "&ack_wait=1s")
    try await run([pipeline(SilentConsumer(dying), sink)]) {
      try await eventually("all are stored") { try bodies(in: "messages", of: path).count == 300 }
    }
    // Its connection is gone without a word.
    dying.abandon()
    let heir = try member(cluster)
    try await run([pipeline(heir, sink)]) {
      try await eventually("all are delivered again and acknowledged") {
        heir.lag.redelivered >= 300 && heir.held == 0
      }
    }
    #expect(try bodies(in: "messages", of: path) == (0..<300).map { "\($0)" })
    try await sink.close()
  }

  @Test func `what the client knows a message by is its identity, however late it is sent again`() async throws {
    let cluster = try await NATSCluster(1)
    let out = try JetStreamSink(cluster.address("/EVENTS?duplicates=100ms"), logger: quiet)
    try await ready(out)
    let sink = try SQLiteSink(path: path)
    let consumer = try member(cluster)
    let again = Message(body: "1", receivedAt: 5, identity: "é 100%")
    try await out.write([again], to: .messages)
    try await eventually("JetStream has forgotten it") {
      try await out.write([again], to: .messages)
      return try await state(of: "EVENTS", at: cluster.address("")).messages > 1
    }
    try await out.write(numbered(2..<3, identity: false), to: .messages)
    try await run([pipeline(consumer, sink)]) {
      try await eventually("the last is stored") { try bodies(in: "messages", of: path).contains("2") }
    }
    #expect(try bodies(in: "messages", of: path) == ["1", "2"])
    try await out.close()
    try await sink.close()
  }

  @Test func `during an outage of the sink messages are held and not delivered again`() async throws {
    let cluster = try await NATSCluster(1)
    try await fill(cluster, 200)
    let sink = MemorySink()
    sink.fail(SinkError(description: "out", isRetryable: true))
    let consumer = try member(cluster, "&ack_wait=1s")
    try await run([pipeline(consumer, sink)]) {
      try await eventually("all are taken") { consumer.held == 200 }
      // Three times as long as the server waits for an acknowledgement.
      try await Task.sleep(for: .seconds(3))
      #expect(consumer.held == 200)
      sink.fail(nil)
      try await eventually("all are stored") { sink.batches.flatMap { $0 }.count == 200 }
    }
    #expect(consumer.lag.redelivered == 0)
    #expect(sink.batches.flatMap { $0 } == (0..<200).map { "\($0)" })
  }

  @Test func `what is refused goes to the dead letters, the rest into the sink`() async throws {
    let cluster = try await NATSCluster(1)
    try await fill(cluster, 100)
    let sink = MemorySink()
    sink.refuse("42")
    let buried = Mutex<[String]>([])
    let consumer = try member(cluster)
    let pipeline = try pipeline(consumer, sink) { burials in
      buried.withLock { $0 += burials.map(\.message.message.body) }
    }
    try await run([pipeline]) {
      try await eventually("all are settled") {
        sink.batches.flatMap { $0 }.count == 99 && buried.withLock { $0 } == ["42"] && consumer.held == 0
      }
    }
  }

  @Test func `at the end of an outage messages are given back, and another member has them at once`() async throws {
    let cluster = try await NATSCluster(1)
    try await fill(cluster, 120)
    let broken = MemorySink()
    broken.fail(SinkError(description: "out", isRetryable: true))
    let leaving = try member(cluster, "&ack_wait=1h")
    try await run([pipeline(leaving, broken)]) {
      try await eventually("all are taken") { leaving.held == 120 }
    }
    let sink = MemorySink()
    // Not after an hour.
    try await run([pipeline(member(cluster), sink)]) {
      try await eventually("all are stored") { sink.batches.flatMap { $0 }.count == 120 }
    }
    #expect(Set(sink.batches.flatMap { $0 }).count == 120)
  }

  @Test func `a server that is killed and comes back is gone on with`() async throws {
    let cluster = try await NATSCluster(1)
    try await fill(cluster, 500)
    let sink = try SQLiteSink(path: path)
    let consumer = try member(cluster, "&ack_wait=2s")
    try await run([pipeline(consumer, sink)]) {
      try await eventually("some are stored") { try bodies(in: "messages", of: path).count == 500 }
      try await cluster.servers[0].kill()
      try cluster.servers[0].start()
      let out = try JetStreamSink(cluster.address("/EVENTS"), logger: quiet)
      try await ready(out)
      try await out.write(numbered(500..<600, identity: false), to: .messages)
      try await out.close()
      try await eventually("all are stored") { try bodies(in: "messages", of: path).count == 600 }
    }
    #expect(try bodies(in: "messages", of: path) == (0..<600).map { "\($0)" })
    try await sink.close()
  }

  @Test func `foreign messages: the stream is that of the subject or the default, and what is no text is passed over`()
    async throws
  {
    let cluster = try await NATSCluster(1)
    let address = try cluster.address("")
    try await fill(cluster, 0)
    for (subject, bytes) in [
      ("EVENTS.orders", Array("1".utf8)), ("EVENTS.a.Strange", Array("2".utf8)), ("EVENTS.orders", [0xFF, 0xFE]),
      ("EVENTS.orders", Array("3".utf8)),
    ] {
      try await publish(bytes, to: subject, at: address)
    }
    let sink = try SQLiteSink(path: path)
    let consumer = try member(cluster, "&default=rest")
    try await run([pipeline(consumer, sink)]) {
      try await eventually("all are settled") {
        try bodies(in: "orders", of: path) == ["1", "3"] && bodies(in: "rest", of: path) == ["2"]
      }
      try await eventually("nothing is left") {
        try await inspect(cluster.address("")) { [plan = consumer.plan] in try plan.find($0) }?.behind == 0
      }
    }
    try await sink.close()
  }

  @Test func `a stream that is not there yet is waited for, one that is deleted is told`() async throws {
    let cluster = try await NATSCluster(1)
    let sink = MemorySink()
    let pipeline = try pipeline(member(cluster), sink)
    let running = Task { try await pipeline.run() }
    try await fill(cluster, 10)
    try await eventually("all are stored") { sink.batches.flatMap { $0 }.count == 10 }
    try await deleteStream("EVENTS", at: cluster.address(""))
    let error = await #expect(throws: ProgramError.self) { try await running.value }
    #expect(error?.description.contains("was deleted") == true)
  }

  @Test func `an unfit durable consumer is explained`() async throws {
    let cluster = try await NATSCluster(1)
    try await fill(cluster, 1)
    let first = try member(cluster, "&subject=EVENTS.orders")
    try await run([pipeline(first, MemorySink())]) {
      try await eventually("it is there") { !first.lag.assigned.isEmpty }
    }
    let second = try member(cluster, "&subject=EVENTS.clicks")
    let error = await #expect(throws: ProgramError.self) { _ = try await second.next(atMost: 1) }
    #expect(error?.description.contains("is about 'EVENTS.orders'") == true)
    await second.close()
  }
}
