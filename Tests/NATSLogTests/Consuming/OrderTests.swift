import AggregatorStorage
import AggregatorTestSupport
import Logging
import Testing

@testable import NATSLog

@Suite("Order of a subject, whatever fails")
struct OrderTests {
  private let folder: TemporaryFolder
  private var path: String { folder.file("messages.db") }

  init() throws {
    folder = try TemporaryFolder()
  }

  private func member(_ cluster: NATSCluster) throws -> JetStreamConsumer {
    try JetStreamConsumer(
      cluster.address("?stream=EVENTS&durable=storing&subject=EVENTS.messages&ordered=true&ack_wait=1s"), logger: quiet)
  }

  private func storing(_ consumer: JetStreamConsumer, _ body: () async throws -> Void) async throws {
    let store = try SQLiteSink(path: path)
    var options = LogPipelineOptions()
    options.batchSize = 50
    options.initialBackoff = .milliseconds(5)
    let pipeline = try LogPipeline(consumer: consumer, sink: store, options: options, logger: quiet)
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await pipeline.run() }
      defer { pipeline.shutdown() }
      try await body()
      pipeline.shutdown()
      try await group.waitForAll()
    }
    try await store.close()
  }

  private func isStored(_ numbers: Range<Int>) throws -> Bool {
    try bodies(in: "messages", of: path).count >= numbers.count
  }

  private func expectOrder(_ numbers: Range<Int>) throws {
    #expect(try bodies(in: "messages", of: path) == numbers.map { "\($0)" })
  }

  @Test func `a member dies with messages that are not stored: the next one stores these first`() async throws {
    let cluster = try await NATSCluster(1)
    let sink = try JetStreamSink(cluster.address("/EVENTS"), logger: quiet)
    try await ready(sink)
    try await sink.write(numbered(0..<1_000), to: .messages)
    let first = try member(cluster)
    let taken = try await first.next(atMost: 300)
    #expect(taken.map(\.position) == Array(1...300))
    await first.acknowledge(Array(taken[..<100]))
    first.abandon()
    let second = try member(cluster)
    try await storing(second) {
      try await eventually("all are stored") { try isStored(100..<1_000) }
    }
    try expectOrder(100..<1_000)
    #expect(second.lag.redelivered == 200)
  }

  @Test func `what was not acknowledged is taken whole, or not yet`() {
    #expect(JetStreamConsumer.isWhole([(3, 2), (1, 5), (2, 2)], count: 3))
    #expect(!JetStreamConsumer.isWhole([(1, 2), (2, 2)], count: 3), "one has not come")
    #expect(!JetStreamConsumer.isWhole([(1, 2), (2, 2), (2, 3)], count: 3), "one has come twice, in place of another")
    #expect(!JetStreamConsumer.isWhole([(1, 2), (2, 2), (3, 2), (3, 3)], count: 3), "all, and one twice")
    #expect(!JetStreamConsumer.isWhole([(1, 2), (2, 2), (4, 1)], count: 3), "one is new")
  }

  @Test func `what is given back is the first that comes again`() async throws {
    let cluster = try await NATSCluster(1)
    let sink = try JetStreamSink(cluster.address("/EVENTS"), logger: quiet)
    try await ready(sink)
    try await sink.write(numbered(0..<100), to: .messages)
    let member = try member(cluster)
    let taken = try await member.next(atMost: 40)
    await member.acknowledge(Array(taken[..<10]))
    await member.giveBack(Array(taken[10...].reversed()))
    #expect(try await member.next(atMost: 100).map(\.position) == Array(11...40))
    member.abandon()
  }

  @Test func `the server dies again and again: each message is stored in its order`() async throws {
    let cluster = try await NATSCluster(1)
    let sink = try JetStreamSink(cluster.address("/EVENTS?window=1&ack_timeout=1s"), logger: quiet)
    try await ready(sink)
    try await storing(try member(cluster)) {
      for round in 0..<4 {
        async let written: Void = sink.write(numbered(round * 1_000..<(round + 1) * 1_000), to: .messages)
        try await eventually("some are stored", within: .seconds(60)) { try isStored(0..<round * 1_000 + 100) }
        try await cluster.servers[0].kill()
        try cluster.servers[0].start()
        try await written
      }
      try await eventually("all are stored", within: .seconds(60)) { try isStored(0..<4_000) }
    }
    try expectOrder(0..<4_000)
  }
}
