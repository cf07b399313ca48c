import Batching
import BatchingTesting
import Testing

/// A worker uses the memory of a batch again; nobody may notice.
@Suite("The memory of batches", .timeLimit(.minutes(5)))
struct MemoryOfBatches {
  private final class Object: Sendable {
    let id: Int

    init(_ id: Int) { self.id = id }
  }

  @Test(arguments: [1, 4, 200, 20_000], [1, 3])
  func whatTheHandlerKeepsStaysAsItWas(batchSize: Int, concurrency: Int) async throws {
    let kept = Watched<[Batch<Int>]>([])
    let aggregator = try Aggregator<Int>(
      configuration: .init(batchSize: batchSize, linger: .seconds(3600), concurrency: concurrency)
    ) { batch in
      // Some are kept and some are not, so that kept ones come after those whose memory is free, and before.
      if batch.sequenceNumber % 3 > 0 { kept.change { $0.append(batch) } }
    }
    try await whileRunning(aggregator) { _ in
      for message in 0..<batchSize * 30 { try await aggregator.send(message) }
      try await aggregator.flush()
    }
    #expect(kept.current.count == 20)
    for batch in kept.current {
      let first = (batch.sequenceNumber - 1) * batchSize
      #expect(batch.messages == Array(first..<first + batchSize))
    }
  }

  @Test(arguments: [2, 100])
  func messagesAreDestroyedBeforeTheirBatchIsSettled(batchSize: Int) async throws {
    let aggregator = try Aggregator<Object>(configuration: .init(batchSize: batchSize)) { _ in }
    try await whileRunning(aggregator) { _ in
      for id in 0..<10 {
        let watch = Watch()
        do {
          let object = Object(id)
          watch.object = object
          for _ in 0..<batchSize { try await aggregator.send(object) }
        }
        try await aggregator.flush()
        #expect(watch.object == nil)
      }
    }
  }

  @Test
  func whatIsTriedAgainStaysAsItWas() async throws {
    struct Failure: Error {}
    let handled = Watched<[String]>([])
    let aggregator = try Aggregator<String>(
      configuration: .init(
        batchSize: 50, linger: .seconds(3600), retry: .exponential(maximumAttempts: 3, initial: .zero, maximum: .zero))
    ) { batch in
      guard batch.attempt == batch.sequenceNumber % 3 + 1 else { throw Failure() }
      handled.change { $0 += batch.messages }
    }
    let messages = (0..<1000).map { "a string that is on the heap: \($0)" }
    try await whileRunning(aggregator) { _ in
      try await aggregator.send(contentsOf: messages)
      try await aggregator.flush()
    }
    #expect(handled.current == messages)
  }

  @Test(arguments: [1, 74, 75, 99, 100])
  func aBatchThatIsNotFullHoldsNoMemoryOfAFullOne(count: Int) async throws {
    let aggregator = try Aggregator<SIMD8<Int>>(
      configuration: .init(batchSize: 100, linger: .seconds(3600))
    ) { batch in
      #expect(batch.messages.count == count)
      #expect(batch.messages.capacity <= max(8, count * 3 / 2))
    }
    try await whileRunning(aggregator) { _ in
      for message in 0..<count { try await aggregator.send(SIMD8(repeating: message)) }
      try await aggregator.flush()
    }
    #expect(aggregator.statistics.handled == count)
  }

  private final class Watch {
    weak var object: Object?
  }
}
