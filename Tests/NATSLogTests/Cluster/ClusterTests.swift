import AggregatorStorage
import AggregatorTestSupport
import Testing

@testable import NATSLog

/// Writes as a pipeline does, which has no end of patience; what has an identity may be repeated.
private func insist(_ messages: [Message], _ sink: JetStreamSink) async throws {
  try await eventually("a batch is published", within: .seconds(90)) {
    do {
      try await sink.write(messages, to: .messages)
      return true
    } catch let error as SinkError where error.isRetryable {
      return false
    }
  }
}

@Suite("A cluster of three")
struct ClusterTests {
  @Test(arguments: [1_024, 1])
  func `the leader is killed while messages are published: each is stored once`(window: Int) async throws {
    let cluster = try await NATSCluster(3)
    let sink = try JetStreamSink(cluster.address("/EVENTS?replicas=3&window=\(window)&ack_timeout=2s"), logger: quiet)
    try await ready(sink)
    let address = try cluster.address("")
    let first = try await state(of: "EVENTS", at: address)
    #expect(first.replicas == 3)
    let total = window == 1 ? 600 : 10_000
    let batch = total / 20
    for start in stride(from: 0, to: total, by: batch) {
      async let written: Void = sink.write(numbered(start..<start + batch, identity: start < total / 4), to: .messages)
      if start == batch * 5 { try await cluster.servers.first { $0.name == first.leader }?.kill() }
      // Where messages have no identity the sink's own patience has to do.
      try await written
    }
    let found = try await payloads(of: "EVENTS", at: address)
    #expect(found.count == total)
    #expect(Set(found).count == total)
    if window == 1 { #expect(found == (0..<total).map { "\($0)" }) }
    try await sink.close()
  }

  @Test func `servers are killed one after the other while two members store: nothing is lost, nothing is there twice`()
    async throws
  {
    let cluster = try await NATSCluster(3)
    let folder = try TemporaryFolder()
    let path = folder.file("messages.db")
    let out = try JetStreamSink(cluster.address("/EVENTS?replicas=3&ack_timeout=2s"), logger: quiet)
    try await ready(out)
    let store = try SQLiteSink(path: path)
    let pipelines = try (0..<2).map { _ in
      let address = try cluster.address("?stream=EVENTS&durable=storing&ack_wait=3s")
      return try LogPipeline(consumer: JetStreamConsumer(address, logger: quiet), sink: store, logger: quiet)
    }
    try await withThrowingTaskGroup(of: Void.self) { group in
      for pipeline in pipelines { group.addTask { try await pipeline.run() } }
      defer { for pipeline in pipelines { pipeline.shutdown() } }
      for round in 0..<6 {
        async let written: Void = insist(numbered(round * 500..<(round + 1) * 500), out)
        let server = cluster.servers[round / 2]
        if round.isMultiple(of: 2) { try await server.kill() } else { try server.start() }
        try await written
      }
      try await eventually("all are stored", within: .seconds(60)) {
        try bodies(in: "messages", of: path).count >= 3_000
      }
      for pipeline in pipelines { pipeline.shutdown() }
      try await group.waitForAll()
    }
    let found = try bodies(in: "messages", of: path)
    #expect(found.count == 3_000 && Set(found).count == 3_000)
    try await out.close()
    try await store.close()
  }
}
