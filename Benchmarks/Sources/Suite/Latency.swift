import Batching
import Foundation
import MallocAccount
import Synchronization

/// Times in nanoseconds, sorted.
struct Percentiles {
  private let sorted: [Int]

  init(_ times: [Int]) {
    sorted = times.sorted()
  }

  subscript(percent: Double) -> Int { sorted[min(Int(Double(sorted.count) * percent / 100), sorted.count - 1)] }
  var most: Int { sorted[sorted.count - 1] }
}

private func nanoseconds(_ duration: Duration) -> Int { Int(duration / .nanoseconds(1)) }

/// From the send that makes a batch full to the first line of its handler, on an idle aggregator.
func fullBatchToHandler(batches: Int) async throws -> Percentiles {
  let began = Mutex(ContinuousClock.now)
  let times = Mutex<[Int]>([])
  try await withAggregator(of: Int.self, configuration: .init(batchSize: 512, linger: .seconds(3600))) { _ in
    let now = ContinuousClock.now
    let took = nanoseconds(now - began.withLock { $0 })
    times.withLock { $0.append(took) }
  } body: { aggregator in
    for _ in 0..<batches {
      for message in 0..<511 { _ = aggregator.trySend(message) }
      // So that the worker has parked, and the machine is idle.
      try await Task.sleep(for: .milliseconds(1))
      began.withLock { $0 = .now }
      _ = aggregator.trySend(511)
      try await aggregator.flush()
    }
  }
  return Percentiles(times.withLock { $0 })
}

/// How late batches are due by linger, and how late the runtime's own timers are, in turns.
func lingerLateness(rounds: Int) async throws -> (linger: Percentiles, bare: Percentiles) {
  let linger = Duration.milliseconds(10)
  let began = Mutex(ContinuousClock.now)
  let times = Mutex<[Int]>([])
  var bare: [Int] = []
  try await withAggregator(of: Int.self, configuration: .init(batchSize: 512, linger: linger)) { _ in
    let late = nanoseconds(ContinuousClock.now - began.withLock { $0 } - linger)
    times.withLock { $0.append(late) }
  } body: { aggregator in
    for round in 0..<rounds {
      began.withLock { $0 = .now }
      try await aggregator.send(round)
      while times.withLock({ $0.count }) == round { try await Task.sleep(for: .milliseconds(3)) }
      let start = ContinuousClock.now
      try await Task.sleep(until: start + linger)
      bare.append(nanoseconds(ContinuousClock.now - start - linger))
    }
  }
  return (Percentiles(times.withLock { $0 }), Percentiles(bare))
}

/// Each call of `trySend`, timed by itself, from more threads than there are cores, so that some lose their core while they hold
/// the lock.
func trySendUnderContention(threads: Int, callsEach: Int) async throws -> Percentiles {
  let times = Mutex<[Int]>([])
  try await withAggregator(of: Int.self, configuration: .init(batchSize: 512)) { _ in
  } body: { aggregator in
    await onThreads(threads) { thread in
      var own: [Int] = []
      own.reserveCapacity(callsEach)
      for message in 0..<callsEach {
        let start = ContinuousClock.now
        let result = aggregator.trySend(message)
        own.append(nanoseconds(ContinuousClock.now - start))
        if result != .accepted { sched_yield() }
      }
      times.withLock { $0 += own }
    }
  }
  return Percentiles(times.withLock { $0 })
}

/// Bytes that each held message takes, with a million of them held, by malloc's own account.
func bytesHeld<Message: Sendable>(_ message: Message) async throws -> Double {
  let count = 1_000_000
  let before = Int(bytes_in_use())
  let aggregator = try Aggregator<Message>(
    configuration: .init(batchSize: 512, linger: .seconds(3600), capacity: count)
  ) { _ in }
  for _ in 0..<count { precondition(aggregator.trySend(message) == .accepted) }
  let bytes = Int(bytes_in_use()) - before
  aggregator.shutdown()
  try await aggregator.run()
  return Double(bytes) / Double(count)
}
