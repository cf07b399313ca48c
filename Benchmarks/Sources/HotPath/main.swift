import Batching

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

// So much of the whole way of a message, and in such an order, that its instructions and allocations can be counted: a thousand
// batches are sent, then all are handled, and so on. `scripts/hot-path.sh` counts.
guard CommandLine.arguments.count == 3 || CommandLine.arguments.count == 4, let rounds = Int(CommandLine.arguments[1]),
  let batchSize = Int(CommandLine.arguments[2])
else {
  print("usage: HotPath ROUNDS BATCH-SIZE [KEYS]")
  exit(2)
}
let keys = CommandLine.arguments.count == 4 ? Int(CommandLine.arguments[3]) : nil

/// Each message is for another key than the one before.
func byKey(rounds: Int, messages: Int, batchSize: Int, keys: Int) async throws {
  let aggregator = try KeyedAggregator<Int, Int>(
    configuration: .init(batchSize: batchSize, linger: .seconds(3600), capacity: 2 * messages), key: { $0 % keys }
  ) { _, batch in
    precondition(batch.count <= batchSize)
  }
  let running = Task { try await aggregator.run() }
  for _ in 0..<rounds {
    for message in 0..<messages { precondition(aggregator.trySend(message) == .accepted) }
    try await aggregator.flush()
  }
  aggregator.shutdown()
  try await running.value
  precondition(aggregator.statistics.handled == rounds * messages)
}

// Not an async main: it leaves the first thread by a way that valgrind does not follow.
Task.detached {
  do {
    let messages = 1000 * batchSize
    if let keys {
      try await byKey(rounds: rounds, messages: messages, batchSize: batchSize, keys: keys)
      exit(0)
    }
    let aggregator = try Aggregator<Int>(
      configuration: .init(batchSize: batchSize, linger: .seconds(3600), capacity: messages + 1)
    ) { batch in
      precondition(batch.count == batchSize)
    }
    let running = Task { try await aggregator.run() }
    for _ in 0..<rounds {
      for message in 0..<messages { precondition(aggregator.trySend(message) == .accepted) }
      try await aggregator.flush()
    }
    aggregator.shutdown()
    try await running.value
    precondition(aggregator.statistics.handled == rounds * messages)
    exit(0)
  } catch {
    print("HotPath: \(error)")
    exit(1)
  }
}
while true { sleep(60) }
