import BatchingTesting
import Testing

@testable import Batching

@Suite("KeyedAggregator: many keys", .timeLimit(.minutes(5)))
struct ManyKeysTests {
  /// Keys that were seen once leave no lane, no deadline and no table behind, and nodes no more than were in use at once.
  @Test(arguments: [Duration.zero, .seconds(1)])
  func `keys seen once leave nothing behind`(linger: Duration) async throws {
    let clock = ManualClock()
    let aggregator = try KeyedAggregator<Int, Int>(
      configuration: .init(batchSize: 10, linger: linger, concurrency: 2, capacity: 5000), clock: clock, key: { $0 }
    ) { _, _ in }
    let run = Begun { try await aggregator.run() }
    for round in 0..<20 {
      try await aggregator.send(contentsOf: round * 5000..<(round + 1) * 5000)
      try await aggregator.flush()
    }
    try await eventually("all are forgotten") { aggregator.core.machine.withLock { $0.lanes.count } == 0 }
    aggregator.core.machine.withLock { machine in
      #expect(machine.lanes.numbers.isEmpty)
      #expect(machine.lanes.lingers.count == 0)
      #expect(machine.lanes.backOffs.count == 0)
      #expect(machine.lanes.blocked.isEmpty)
      #expect(machine.lanes.line.isEmpty)
      // 5,000 at once, in chunks; a node has one key's messages.
      #expect(machine.lanes.nodes.bytes <= 5000 * machine.lanes.nodes.layout.stride + 2 * Segment.initialBytes)
    }
    aggregator.shutdown()
    try await run.value
    #expect(aggregator.statistics.handled == 100_000)
  }
}
