import Batching
import BatchingTesting
import Testing

@Suite("By key, on real threads", .timeLimit(.minutes(5)))
struct KeyedUnderLoad {
  private struct Broken: Error {}

  private struct Message: Hashable, Sendable {
    var key: Int
    var sender: Int
    var number: Int
  }

  /// Senders of all kinds on a few keys: one fate each, each sender's messages of a key in their order, no two calls at once
  /// for a key, and books that balance whenever somebody looks.
  @Test(arguments: [1, 3], [2, 50])
  func allHolds(concurrency: Int, keys: Int) async throws {
    let busy = Watched<Set<Int>>([])
    let handled = Watched<[Int: [Message]]>([:])
    let failed = Watched(0)
    let aggregator = try KeyedAggregator<Int, Message>(
      configuration: .init(
        batchSize: 5, linger: .milliseconds(1), concurrency: concurrency, capacity: 40,
        retry: .exponential(maximumAttempts: 2, initial: .microseconds(200), maximum: .milliseconds(1))), key: \.key
    ) { key, batch in
      let isFirst = busy.change { $0.insert(key).inserted }
      #expect(isFirst, "two calls at once for \(key)")
      defer { busy.change { _ = $0.remove(key) } }
      if batch.attempt == 1, batch.sequenceNumber.isMultiple(of: 7) { throw Broken() }
      if batch.sequenceNumber.isMultiple(of: 3) { await Task.yield() }
      handled.change { $0[key, default: []] += batch }
    } onFailure: { _, failure in
      failed.change { $0 += failure.items.count }
    }
    let run = Begun { try await aggregator.run() }
    let isOver = Watched(false)
    let sampler = Task.detached {
      while !isOver.current {
        let statistics = aggregator.statistics
        #expect(statistics.addsUp, "\(statistics)")
        #expect(statistics.held <= 40)
        await Task.yield()
      }
    }
    try await withThrowingTaskGroup { group in
      for sender in 0..<4 {
        group.addTask {
          var numbers = [Int](repeating: 0, count: keys)
          func next(_ index: Int) -> Message {
            let key = (index * 7 + sender) % keys
            numbers[key] += 1
            return Message(key: key, sender: sender, number: numbers[key])
          }
          for round in 0..<200 {
            switch round % 3 {
            case 0:
              let messages = (0..<6).map { next(round * 6 + $0) }
              try await aggregator.send(contentsOf: messages)
            case 1:
              let message = next(round)
              while aggregator.trySend(message) != .accepted { await Task.yield() }
            default:
              try await aggregator.send(next(round))
            }
            if round % 50 == 0 { try await aggregator.flush() }
          }
        }
      }
      try await group.waitForAll()
    }
    aggregator.shutdown()
    try await run.value
    isOver.change { $0 = true }
    await sampler.value
    let statistics = aggregator.statistics
    #expect(statistics.accepted == 4 * (67 * 6 + 133))
    #expect(statistics.handled + statistics.failed == statistics.accepted)
    #expect(failed.current == statistics.failed)
    for (key, messages) in handled.current {
      #expect(messages.allSatisfy { $0.key == key })
      for sender in 0..<4 {
        let numbers = messages.filter { $0.sender == sender }.map(\.number)
        #expect(numbers == numbers.sorted() && Set(numbers).count == numbers.count, "key \(key), sender \(sender)")
      }
    }
    #expect(handled.current.values.reduce(0) { $0 + $1.count } == statistics.handled)
  }
}
