import AggregatorStorage
import AggregatorTestSupport
import Testing

@testable import NATSLog

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
      if start == batch * 5 { cluster.servers.first { $0.name == first.leader }?.kill() }
      // As a pipeline does, which has no end of patience; where messages have no identity the sink's own has to do.
      try await written
    }
    let found = try await payloads(of: "EVENTS", at: address)
    #expect(found.count == total)
    #expect(Set(found).count == total)
    if window == 1 { #expect(found == (0..<total).map { "\($0)" }) }
    try await sink.close()
  }
}
