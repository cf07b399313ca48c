import Batching
import BatchingTesting

/// A million keys, each seen once, ten thousand at a time: what they leave behind in memory.
struct ManyKeys {
  var keys = 1_000_000
  var atOnce = 10_000

  func run() async throws {
    let memory = Memory()
    let aggregator = try KeyedAggregator<Int, Int>(
      configuration: .init(batchSize: 100, linger: .milliseconds(1), concurrency: 2, capacity: atOnce), key: { $0 }
    ) { _, _ in }
    async let running: Void = aggregator.run()
    memory.sample()
    let before = memory.last
    var afterFirst = 0
    for first in stride(from: 0, to: keys, by: atOnce) {
      try await aggregator.send(contentsOf: first..<min(first + atOnce, keys))
      try await aggregator.flush()
      memory.sample()
      if first == 0 { afterFirst = memory.last }
    }
    print(
      "\(keys) keys, \(atOnce) at once; resident: \(before / 1024) KiB before, \(afterFirst / 1024) KiB after the first "
        + "\(atOnce), \(memory.last / 1024) KiB after all")
    aggregator.shutdown()
    try await running
    guard memory.last <= afterFirst + (2 << 20) else { throw SoakFailure("keys stay in memory") }
  }
}
