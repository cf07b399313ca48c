import Batching
import Testing

/// The code of the contract as it stands there: that it compiles is the first half of the test.
@Suite("As a user writes it", .timeLimit(.minutes(5)))
struct AsAUserWritesIt {
  private struct Event: Hashable {
    var id: Int
  }

  private actor Database {
    private(set) var rows: [Event] = []
    private let refused: Set<Event>

    init(refused: Set<Event> = []) { self.refused = refused }

    func insert(_ batch: Batch<Event>) throws {
      guard refused.isDisjoint(with: batch) else { throw Advice.refusal }
      rows += batch
    }
  }

  private actor DeadLetters {
    private(set) var messages: [Event] = []
    private(set) var errors: [Advice] = []

    func save(_ messages: [Event], because error: any Error) {
      self.messages += messages
      if let advice = error as? Advice { errors.append(advice) }
    }
  }

  @Test
  func anAggregatorWithDeadLetters() async throws {
    let database = Database(refused: [Event(id: 700)])
    let deadLetters = DeadLetters()

    let aggregator = try Aggregator<Event>(
      configuration: .init(
        batchSize: 500, linger: .milliseconds(20), concurrency: 4,
        retry: .exponential(maximumAttempts: 5))
    ) { batch in
      try await database.insert(batch)
    } onFailure: { failure in
      await deadLetters.save(failure.messages, because: failure.error)
    }

    try await whileRunning(aggregator) { _ in
      for id in 0..<1000 { try await aggregator.send(Event(id: id)) }
    }
    let stored = await database.rows
    let saved = await deadLetters.messages
    #expect(saved.contains(Event(id: 700)))
    #expect((stored + saved).map(\.id).sorted() == Array(0..<1000))
    #expect(await deadLetters.errors == [.refusal])
  }

  @Test
  func aggregatingWhileABlockRuns() async throws {
    let database = Database()
    let (events, continuation) = AsyncStream<Event>.makeStream()
    for id in 0..<250 { continuation.yield(Event(id: id)) }
    continuation.finish()

    try await withAggregator(of: Event.self, configuration: .init(batchSize: 100)) { batch in
      try await database.insert(batch)
    } body: { aggregator in
      for try await event in events { try await aggregator.send(event) }
    }

    #expect(await database.rows == (0..<250).map { Event(id: $0) })
  }

  @Test
  func anErrorIsCaughtByItsCode() async throws {
    let aggregator = try Aggregator<Event>(configuration: .init(batchSize: 1, capacity: 1, overflow: .reject)) { _ in }
    try await aggregator.send(Event(id: 1))
    var caught: [String] = []
    do {
      try await aggregator.send(Event(id: 2))
    } catch AggregatorError.closed {
      caught.append("closed")
    } catch AggregatorError.full {
      caught.append("full")
    }
    do {
      throw CancellationError()
    } catch AggregatorError.full {
      caught.append("another error")
    } catch {
      caught.append("none of ours")
    }
    #expect(caught == ["full", "none of ours"])
    try await whileRunning(aggregator) { _ in }
  }
}
