import Batching

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
    // By then caches are full, and tables as large as they get.
    let tenth = keys / 10
    var early = 0
    for first in stride(from: 0, to: keys, by: atOnce) {
      if first == tenth { early = memory.last }
      try await aggregator.send(contentsOf: first..<min(first + atOnce, keys))
      try await aggregator.flush()
      memory.sample()
    }
    print(
      "\(keys) keys, \(atOnce) at once; resident: \(before / 1024) KiB before, \(early / 1024) KiB after \(tenth) of them, "
        + "\(memory.last / 1024) KiB after all")
    aggregator.shutdown()
    try await running
    guard memory.last <= early + (2 << 20) else { throw SoakFailure("keys stay in memory") }
  }
}
