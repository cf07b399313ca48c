import Batching
import Foundation
import Synchronization

/// Keeps the optimiser from seeing that nobody looks at the messages.
@inline(never)
func consume<Message>(_ messages: [Message]) -> Int { messages.count }

func seconds(_ body: () async throws -> Void) async rethrows -> Double {
  let start = ContinuousClock.now
  try await body()
  return (ContinuousClock.now - start) / .seconds(1)
}

// MARK: - The floor

func appendToArray(_ count: Int) -> Double {
  let start = ContinuousClock.now
  var array: [Int] = []
  array.reserveCapacity(512)
  for message in 0..<count {
    array.append(message)
    if array.count == 512 {
      _ = consume(array)
      array = []
      array.reserveCapacity(512)
    }
  }
  return (ContinuousClock.now - start) / .seconds(1)
}

func appendUnderLock(_ count: Int) -> Double {
  let start = ContinuousClock.now
  let guarded = Mutex<[Int]>([])
  guarded.withLock { $0.reserveCapacity(512) }
  for message in 0..<count {
    guarded.withLock { array in
      array.append(message)
      if array.count == 512 {
        _ = consume(array)
        array = []
        array.reserveCapacity(512)
      }
    }
  }
  return (ContinuousClock.now - start) / .seconds(1)
}

// MARK: - Ours

/// The whole way: until every message has been through the handler.
func pipeline<Message: Sendable>(
  _ count: Int, _ configuration: AggregatorConfiguration, producers: Int,
  handler: @escaping @Sendable (Batch<Message>) async throws -> Void = { _ in },
  produce: @escaping @Sendable (Aggregator<Message>, Range<Int>) async throws -> Void
) async throws -> Double {
  let handled = Atomic<Int>(0)
  let each = count / producers
  return try await seconds {
    try await withAggregator(of: Message.self, configuration: configuration) { batch in
      try await handler(batch)
      handled.add(consume(batch.messages), ordering: .relaxed)
    } body: { aggregator in
      try await withThrowingTaskGroup(of: Void.self) { group in
        for producer in 0..<producers {
          group.addTask { try await produce(aggregator, each * producer..<each * (producer + 1)) }
        }
        try await group.waitForAll()
      }
    }
    precondition(handled.load(ordering: .relaxed) == each * producers, "messages were lost")
  }
}

func trySend(_ count: Int, batchSize: Int, producers: Int) async throws -> Double {
  try await pipeline(count, .init(batchSize: batchSize), producers: producers) { aggregator, messages in
    for message in messages {
      while aggregator.trySend(message) != .accepted { await Task.yield() }
    }
  }
}

/// From plain threads, which know nothing of tasks.
func trySendFromThreads(_ count: Int, batchSize: Int, threads: Int) async throws -> Double {
  try await pipeline(count, .init(batchSize: batchSize), producers: 1) { aggregator, messages in
    let each = messages.count / threads
    let rest = messages.count - each * threads
    await onThreads(threads) { thread in
      for message in 0..<each + (thread == 0 ? rest : 0) {
        while aggregator.trySend(message) != .accepted { sched_yield() }
      }
    }
  }
}

/// Runs the body on so many threads of their own, and returns when all have.
func onThreads(_ threads: Int, _ body: @escaping @Sendable (Int) -> Void) async {
  let running = Atomic(threads)
  await withUnsafeContinuation { (continuation: UnsafeContinuation<Void, Never>) in
    for thread in 0..<threads {
      Thread.detachNewThread {
        body(thread)
        if running.subtract(1, ordering: .acquiringAndReleasing).newValue == 0 { continuation.resume() }
      }
    }
  }
}

func send(_ count: Int, batchSize: Int, producers: Int, capacity: Int? = nil) async throws -> Double {
  try await pipeline(count, .init(batchSize: batchSize, capacity: capacity), producers: producers) {
    aggregator, messages in
    for message in messages { try await aggregator.send(message) }
  }
}

func sendSlices(_ count: Int, batchSize: Int) async throws -> Double {
  // In the sender's cache, as what it has just made would be: how fast main memory is, is not the question.
  let source = Array(0..<10_000)
  return try await pipeline(count, .init(batchSize: batchSize), producers: 1) { aggregator, messages in
    var left = messages.count
    var start = 0
    while left > 0 {
      let end = start + min(100, left)
      try await aggregator.send(contentsOf: source[start..<end])
      left -= end - start
      start = end < source.count ? end : 0
    }
  }
}

/// The same messages sent again and again, of any type.
func send<Message: Sendable>(_ count: Int, of message: Message) async throws -> Double {
  try await pipeline(count, .init(batchSize: 512), producers: 1) { aggregator, messages in
    for _ in messages { try await aggregator.send(message) }
  }
}

/// Keys in turns, so that each message is for another one than the message before; 64 messages of a key make a batch.
func sendByKey(_ count: Int, keys: Int) async throws -> Double {
  let handled = Atomic<Int>(0)
  let aggregator = try KeyedAggregator<Int, Int>(
    configuration: .init(batchSize: 64, capacity: max(64 * keys, 4096)), key: { $0 % keys }
  ) { _, batch in
    handled.add(consume(batch.messages), ordering: .relaxed)
  }
  return try await seconds {
    async let running: Void = aggregator.run()
    for message in 0..<count { try await aggregator.send(message) }
    aggregator.shutdown()
    try await running
    precondition(handled.load(ordering: .relaxed) == count, "messages were lost")
  }
}

/// Many callers, each of whom waits for its own answer.
func request(_ count: Int, batchSize: Int, callers: Int) async throws -> Double {
  let requests = try RequestAggregator<Int, Int>(configuration: .init(batchSize: batchSize)) { $0.messages }
  return try await seconds {
    async let running: Void = requests.run()
    try await withThrowingTaskGroup(of: Void.self) { group in
      for _ in 0..<callers {
        group.addTask {
          for request in 0..<count / callers {
            let answer = try await requests.send(request)
            precondition(answer == request)
          }
        }
      }
      try await group.waitForAll()
    }
    requests.shutdown()
    try await running
  }
}
