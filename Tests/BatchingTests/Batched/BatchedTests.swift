import Batching
import BatchingTesting
import Testing

@Suite("batched(size:linger:): any sequence in batches", .timeLimit(.minutes(5)))
struct BatchedTests {
  private struct Broken: Error {}

  /// A sequence that the test feeds, and that counts what has been read of it.
  private struct Faucet: Sendable {
    let read = Watched(0)
    let isCancelled = Watched(false)
    let stream: AsyncThrowingStream<Int, any Error>
    let drops: AsyncThrowingStream<Int, any Error>.Continuation

    init() {
      let isCancelled = isCancelled
      (stream, drops) = AsyncThrowingStream.makeStream(of: Int.self)
      drops.onTermination = { if case .cancelled = $0 { isCancelled.change { $0 = true } } }
    }

    func run(_ range: Range<Int>) { for element in range { drops.yield(element) } }

    func batched(
      size: Int, linger: Duration, clock: ManualClock
    ) -> some AsyncSequence<Batch<Int>, any Error> & Sendable {
      stream.map { [read] element in
        read.change { $0 += 1 }
        return element
      }.batched(size: size, linger: linger, clock: clock)
    }
  }

  private let clock = ManualClock()

  @Test(arguments: [1, 2, 3, 7, 100, 101])
  func noElementIsLostOrComesTwiceAtAnySize(size: Int) async throws {
    let (stream, source) = AsyncStream.makeStream(of: Int.self)
    for element in 0..<100 { source.yield(element) }
    source.finish()
    var batches: [Batch<Int>] = []
    for await batch in stream.batched(size: size, linger: .seconds(1), clock: clock) { batches.append(batch) }
    #expect(batches.flatMap(\.messages) == Array(0..<100))
    #expect(batches.dropLast().allSatisfy { $0.count == size && $0.trigger == .size })
    #expect(batches.last?.count == (100 % size == 0 ? size : 100 % size))
    #expect(batches.last?.trigger == (100 % size == 0 ? .size : .shutdown))
    #expect(batches.map(\.sequenceNumber) == Array(1...batches.count))
    #expect(batches.allSatisfy { $0.attempt == 1 })
    #expect(clock.elapsed == .zero)
  }

  /// Without linger the consumer takes whatever has come, while the next elements come in.
  @Test(arguments: [2, 3, 8])
  func noElementIsLostWhileTheConsumerTakesWhatThereIs(size: Int) async throws {
    let (stream, source) = AsyncStream.makeStream(of: Int.self)
    for element in 0..<50_000 { source.yield(element) }
    source.finish()
    var next = 0
    for await batch in stream.batched(size: size, linger: .zero) {
      #expect(batch.count <= size && batch.messages == Array(next..<next + batch.count))
      next += batch.count
    }
    #expect(next == 50_000)
  }

  @Test
  func anEmptySequenceHasNoBatches() async throws {
    let (stream, source) = AsyncStream.makeStream(of: Int.self)
    source.finish()
    var iterator = stream.batched(size: 3, linger: .seconds(1), clock: clock).makeAsyncIterator()
    #expect(await iterator.next(isolation: nil) == nil)
    #expect(await iterator.next(isolation: nil) == nil)
  }

  @Test
  func lingerCountsFromTheFirstElement() async throws {
    let faucet = Faucet()
    let batches = faucet.batched(size: 10, linger: .seconds(5), clock: clock)
    let first = Begun { () -> Batch<Int>? in
      var iterator = batches.makeAsyncIterator()
      return try await iterator.next(isolation: nil)
    }
    // Nothing is there: no deadline.
    #expect(clock.deadlines.isEmpty)
    clock.advance(by: .seconds(3))
    faucet.run(0..<1)
    try await clock.waitForSleeper(until: .seconds(8))
    clock.advance(by: .seconds(4))
    faucet.run(1..<2)
    try await faucet.read.wait { $0 == 2 }
    #expect(!first.hasEnded)
    clock.advance(by: .seconds(1))
    let batch = try await first.value
    #expect(batch?.messages == [0, 1])
    #expect(batch?.trigger == .linger)
  }

  @Test
  func aDueBatchGrowsUntilSomebodyAsksForIt() async throws {
    let faucet = Faucet()
    var iterator = faucet.batched(size: 4, linger: .zero, clock: clock).makeAsyncIterator()
    faucet.run(0..<1)
    #expect(try await iterator.next(isolation: nil)?.messages == [0])
    // The consumer works, and three come meanwhile.
    faucet.run(1..<4)
    try await faucet.read.wait { $0 == 4 }
    let batch = try await iterator.next(isolation: nil)
    #expect(batch?.messages.first == 1)
    #expect(batch?.trigger == .linger)
    // What is read is about to be appended: the last may come in a batch of its own.
    var rest = batch?.messages ?? []
    while rest.count < 3 { rest += try await iterator.next(isolation: nil)?.messages ?? [] }
    #expect(rest == [1, 2, 3])
  }

  @Test(arguments: [1, 3])
  func noMoreIsReadAheadThanABatch(size: Int) async throws {
    let faucet = Faucet()
    faucet.run(0..<20)
    let batches = faucet.batched(size: size, linger: .seconds(1), clock: clock)
    var iterator = batches.makeAsyncIterator()
    #expect(faucet.read.current == 0)
    for round in 1...4 {
      let batch = try await iterator.next(isolation: nil)
      #expect(batch?.count == size)
      try await faucet.read.wait { $0 == (round + 1) * size }
      // Whoever would read more has had every occasion to.
      for _ in 0..<100 { await Task.yield() }
      #expect(faucet.read.current == (round + 1) * size)
    }
  }

  @Test(arguments: [1, 2, 4, 10])
  func anErrorComesAfterTheElementsBeforeIt(size: Int) async throws {
    let faucet = Faucet()
    faucet.run(0..<5)
    faucet.drops.finish(throwing: Broken())
    var elements: [Int] = []
    var iterator = faucet.batched(size: size, linger: .seconds(1), clock: clock).makeAsyncIterator()
    await #expect(throws: Broken.self) {
      while let batch = try await iterator.next(isolation: nil) { elements += batch }
    }
    #expect(elements == Array(0..<5))
    // Once is enough.
    #expect(try await iterator.next(isolation: nil) == nil)
  }

  @Test(arguments: [1, 3])
  func cancellationReachesTheSequence(elements: Int) async throws {
    let faucet = Faucet()
    let batches = faucet.batched(size: 10, linger: .seconds(5), clock: clock)
    let seen = Watched<[Int]>([])
    let consumer = Begun {
      for try await batch in batches { seen.change { $0 += batch } }
    }
    faucet.run(0..<elements)
    try await faucet.read.wait { $0 == elements }
    try await clock.waitForSleeper(until: .seconds(5))
    consumer.cancel()
    _ = await consumer.result
    #expect(faucet.isCancelled.current)
    // What it had read before its end is handed over.
    #expect(seen.current == Array(0..<elements))
    try await clock.waitForNoSleepers()
  }

  @Test
  func anIteratorThatIsLetGoOfCancelsTheReading() async throws {
    let faucet = Faucet()
    faucet.run(0..<50)
    do {
      var iterator = faucet.batched(size: 2, linger: .seconds(5), clock: clock).makeAsyncIterator()
      #expect(try await iterator.next(isolation: nil)?.messages == [0, 1])
    }
    try await faucet.isCancelled.wait { $0 }
    try await clock.waitForNoSleepers()
  }

  @Test
  func theReadElementsAreDestroyedWithTheIterator() async throws {
    let (stream, source) = AsyncStream.makeStream(of: Traced.self)
    let alive = Watched(0)
    for _ in 0..<5 { source.yield(Traced(alive)) }
    do {
      var iterator = stream.batched(size: 4, linger: .seconds(5), clock: clock).makeAsyncIterator()
      _ = await iterator.next(isolation: nil)
    }
    source.finish()
    try await alive.wait { $0 == 0 }
  }

  private final class Traced: Sendable {
    private let alive: Watched<Int>

    init(_ alive: Watched<Int>) {
      self.alive = alive
      alive.change { $0 += 1 }
    }

    deinit { alive.change { $0 -= 1 } }
  }

  @Test
  func eachIteratorReadsForItself() async throws {
    struct Numbers: AsyncSequence, Sendable {
      struct AsyncIterator: AsyncIteratorProtocol {
        var next = 0
        mutating func next() async -> Int? {
          defer { next += 1 }
          return next < 7 ? next : nil
        }
      }

      func makeAsyncIterator() -> AsyncIterator { AsyncIterator() }
    }
    let batches = Numbers().batched(size: 3, linger: .seconds(1), clock: clock)
    for _ in 0..<2 {
      var all: [[Int]] = []
      for try await batch in batches { all.append(batch.messages) }
      #expect(all == [[0, 1, 2], [3, 4, 5], [6]])
    }
  }

  @Test
  func oneTimerThatIsNotArmedAnewForEachBatch() async throws {
    let faucet = Faucet()
    var iterator = faucet.batched(size: 2, linger: .seconds(5), clock: clock).makeAsyncIterator()
    for round in 0..<50 {
      faucet.run(2 * round..<2 * round + 2)
      #expect(try await iterator.next(isolation: nil)?.count == 2)
    }
    #expect(clock.sleepCalls <= 1)
  }

  @Test
  func aSizeOfZeroIsAPreconditionFailure() async {
    await #expect(processExitsWith: .failure) {
      let (stream, _) = AsyncStream.makeStream(of: Int.self)
      _ = stream.batched(size: 0, linger: .zero)
    }
  }

  @Test(arguments: 0..<200)
  func whateverTheOrderOfThings(seed: UInt64) async throws {
    var random = SeededGenerator(seed: seed)
    let size = Int.random(in: 1...5, using: &random)
    let linger = Duration.seconds(Int.random(in: 0...3, using: &random))
    let total = Int.random(in: 0...30, using: &random)
    let fails = Bool.random(using: &random)
    let faucet = Faucet()
    let clock = ManualClock()
    let batches = faucet.batched(size: size, linger: linger, clock: clock)
    let asked = Watched(0)
    let seen = Watched<[Batch<Int>]>([])
    let consumer = Begun {
      for try await batch in batches {
        seen.change { $0.append(batch) }
        try await asked.wait { $0 > seen.current.count }
      }
    }
    var sent = 0
    while sent < total {
      switch Int.random(in: 0..<4, using: &random) {
      case 0:
        let more = min(Int.random(in: 1...4, using: &random), total - sent)
        faucet.run(sent..<sent + more)
        sent += more
      case 1: clock.advance(by: .seconds(Int.random(in: 1...2, using: &random)))
      case 2: asked.change { $0 += 1 }
      default: for _ in 0..<Int.random(in: 1...5, using: &random) { await Task.yield() }
      }
      // The consumer may have taken a batch and not noted it yet; otherwise nothing makes it true any more.
      let read = faucet.read.current
      try await eventually("seed \(seed): \(read) read") {
        read <= seen.current.reduce(0) { $0 + $1.count } + size
      }
    }
    faucet.drops.finish(throwing: fails ? Broken() : nil)
    asked.change { $0 = .max }
    switch await consumer.result {
    case .success: #expect(!fails, "seed \(seed)")
    case .failure(let error): #expect(fails && error is Broken, "seed \(seed)")
    }
    #expect(seen.current.flatMap(\.messages) == Array(0..<total), "seed \(seed)")
    for batch in seen.current {
      #expect(!batch.isEmpty && batch.count <= size, "seed \(seed)")
      #expect(batch.trigger != .size || batch.count == size, "seed \(seed)")
    }
    #expect(seen.current.dropLast().allSatisfy { $0.trigger != .shutdown }, "seed \(seed)")
  }
}

@Suite("consume(_:): all of a sequence", .timeLimit(.minutes(5)))
struct ConsumeTests {
  private struct Broken: Error {}

  @Test
  func itSendsAllAndReturns() async throws {
    let handled = Watched<[Int]>([])
    try await withAggregator(of: Int.self, configuration: .init(batchSize: 3, linger: .zero)) { batch in
      handled.change { $0 += batch }
    } body: { aggregator in
      let (stream, source) = AsyncStream.makeStream(of: Int.self)
      for element in 0..<100 { source.yield(element) }
      source.finish()
      try await aggregator.consume(stream)
      #expect(aggregator.statistics.accepted == 100)
    }
    #expect(handled.current == Array(0..<100))
  }

  @Test
  func aFullAggregatorSlowsTheSequenceDown() async throws {
    let handler = GatedHandler<Batch<Int>>.gated()
    let aggregator = try Aggregator<Int>(
      configuration: .init(batchSize: 2, linger: .zero, capacity: 4), handler: { try await handler($0) })
    let read = Watched(0)
    let (stream, source) = AsyncStream.makeStream(of: Int.self)
    for element in 0..<20 { source.yield(element) }
    source.finish()
    let counted = stream.map { element in
      read.change { $0 += 1 }
      return element
    }
    let consuming = Begun { try await aggregator.consume(counted) }
    // Four are held, and one is in hand.
    try await read.wait { $0 == 5 }
    for _ in 0..<100 { await Task.yield() }
    #expect(read.current == 5)
    handler.open()
    let running = Begun { try await aggregator.run() }
    try await consuming.value
    aggregator.shutdown()
    try await running.value
    #expect(aggregator.statistics.handled == 20)
  }

  @Test
  func theErrorOfTheSequenceComesThrough() async throws {
    let aggregator = try Aggregator<Int> { _ in }
    let (stream, source) = AsyncThrowingStream.makeStream(of: Int.self)
    source.yield(1)
    source.finish(throwing: Broken())
    await #expect(throws: Broken.self) { try await aggregator.consume(stream) }
    #expect(aggregator.statistics.accepted == 1)
    aggregator.shutdown()
    await #expect(throws: AggregatorError.closed) {
      let (stream, source) = AsyncStream.makeStream(of: Int.self)
      source.yield(1)
      try await aggregator.consume(stream)
    }
    try await aggregator.run()
  }
}
