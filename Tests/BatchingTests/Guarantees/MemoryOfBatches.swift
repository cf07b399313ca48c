import Batching
import BatchingTesting
import Testing

/// A worker uses the memory of a batch again; nobody may notice.
@Suite("The memory of batches", .timeLimit(.minutes(2)))
struct MemoryOfBatches {
  private final class Object: Sendable {
    let id: Int

    init(_ id: Int) { self.id = id }
  }

  @Test(arguments: [1, 4, 20_000], [1, 3])
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

  @Test
  func messagesAreDestroyedBeforeTheirBatchIsSettled() async throws {
    let aggregator = try Aggregator<Object>(configuration: .init(batchSize: 2)) { _ in }
    try await whileRunning(aggregator) { _ in
      for id in 0..<10 {
        let watch = Watch()
        do {
          let object = Object(id)
          watch.object = object
          try await aggregator.send(object)
        }
        try await aggregator.flush()
        #expect(watch.object == nil)
      }
    }
  }

  private final class Watch {
    weak var object: Object?
  }
}
