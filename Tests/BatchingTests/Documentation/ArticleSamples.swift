import Batching
import BatchingTesting
import Logging
import ServiceLifecycle
import ServiceLifecycleTestKit
import Testing
import UnixSignals

/// The code of the articles, word for word, so that it compiles and does what they say; `ArticlesAreCompiled` looks for it here.
@Suite("Articles", .timeLimit(.minutes(5)))
struct ArticleSamples {
  private let printed = Watched<[String]>([])
  private let database = Database()
  private let store = Store()

  private func print(_ line: String) {
    printed.change { $0.append(line) }
  }

  @Test
  func overview() async throws {
    let events = AsyncStream<Event> { continuation in
      for number in 0..<1200 { continuation.yield(Event(number: number)) }
      continuation.finish()
    }
    try await withAggregator(of: Event.self, configuration: .init(batchSize: 500)) { batch in
      try await database.insert(batch)
    } body: { aggregator in
      for try await event in events { try await aggregator.send(event) }
    }
    #expect(await database.events == (0..<1200).map(Event.init))
  }

  @Test
  func overviewOfSequences() async throws {
    let events = AsyncStream<Event> { continuation in
      for number in 0..<1200 { continuation.yield(Event(number: number)) }
      continuation.finish()
    }
    for try await batch in events.batched(size: 500, linger: .milliseconds(20)) {
      try await database.insert(batch)
    }
    #expect(await database.events == (0..<1200).map(Event.init))
  }

  // MARK: Started in five minutes

  @Test
  func gettingStartedInAScope() async throws {
    try await withAggregator(of: String.self, configuration: .init(batchSize: 4)) { batch in
      print(batch.joined(separator: " "))
    } body: { aggregator in
      for word in ["in", "batches", "of", "four"] { try await aggregator.send(word) }
    }
    #expect(printed.current == ["in batches of four"])
  }

  @Test
  func gettingStartedInAProgram() async throws {
    let aggregator = try Aggregator<String>(configuration: .init(batchSize: 500, linger: .milliseconds(20))) { batch in
      try await store.insert(batch.messages)
    } onFailure: { failure in
      await store.keep(failure.messages, because: failure.error)
    }
    var lost = 0
    if aggregator.trySend("another") != .accepted { lost += 1 }

    async let running: Void = aggregator.run()
    try await aggregator.send("a message")
    aggregator.shutdown()
    try await running
    #expect(await store.rows == ["another", "a message"])
    #expect(lost == 0)
  }

  // MARK: Choosing the numbers

  struct HandlerCosts {
    /// In seconds: what a call costs, and what each message adds.
    var call: Double
    var message: Double

    /// From the times of a call with one message, and of one with `count`.
    init(one: Double, many: Double, count: Int) {
      message = (many - one) / Double(count - 1)
      call = one - message
    }

    /// Messages a second.
    func throughput(batchSize: Int, concurrency: Int = 1) -> Double {
      Double(concurrency * batchSize) / (call + message * Double(batchSize))
    }
  }

  @Test(arguments: [(1, 498), (10, 4762), (100, 33_333), (200, 50_000), (500, 71_429), (2000, 90_909)])
  func choosingNumbers(batchSize: Int, throughput: Int) {
    let costs = HandlerCosts(one: 2.01e-3, many: 7e-3, count: 500)
    #expect(Int(costs.throughput(batchSize: batchSize).rounded()) == throughput)
  }

  /// The table of backends, in milliseconds.
  @Test(arguments: [(0.476, 4.13, 0.469, 7.3, 64), (0.05, 2.5, 0.045, 4.9, 9), (0.556, 4.55, 0.548, 8.0, 68)])
  func measuredCosts(one: Double, many: Double, call: Double, message: Double, ratio: Int) {
    let costs = HandlerCosts(one: one * 1e-3, many: many * 1e-3, count: 500)
    #expect((costs.call * 1e6).rounded() / 1e3 == call)
    #expect((costs.message * 1e7).rounded() / 10 == message)
    #expect(Int((costs.call / costs.message).rounded()) == ratio)
  }

  // MARK: Failures

  struct ShardIsMoving: RetryAdvising {
    var isRetryable: Bool { true }
    var retryAfter: Duration? { .seconds(2) }
  }

  @Test
  func failuresOfSome() async throws {
    let client = BulkClient()
    let aggregator = try Aggregator<Event>(configuration: .init(retry: .exponential(maximumAttempts: 5))) { batch in
      let statuses = try await client.post(batch.messages)
      try PartialBatchFailure.throwIfAny(statuses.map { MessageError.httpStatus($0) })
    }
    try await aggregator.send(contentsOf: (0..<4).map(Event.init))
    aggregator.shutdown()
    try await aggregator.run()
    #expect(await client.sizes == [4, 2])
    #expect(aggregator.statistics.handled == 4)
  }

  @Test
  func failuresForGood() async throws {
    let deadLetters = DeadLetters()
    let database = RefusingDatabase()
    let aggregator = try Aggregator<Event>(configuration: .init(retry: .exponential())) { batch in
      try await database.insert(batch)
    } onFailure: { failure in
      for item in failure.items { await deadLetters.save(item.message, because: item.error) }
    }
    try await aggregator.send(Event(number: 1))
    aggregator.shutdown()
    try await aggregator.run()
    #expect(await deadLetters.events == [Event(number: 1)])
  }

  private struct RefusingDatabase {
    func insert(_ batch: Batch<Event>) async throws {
      throw MessageError.refuse(because: "there is no such table")
    }
  }

  // MARK: Shutdown

  @Test
  func shutdown() async throws {
    let ends = Watched<[String]>([])
    let logger = Logger(label: "articles", factory: { _ in SwiftLogNoOpLogHandler() })
    let database = NotedService(name: "database", ends: ends)
    let server = NotedService(name: "server", ends: ends)
    let aggregator = try Aggregator<Int>(configuration: .init(linger: .seconds(3600))) { _ in
      ends.change { $0.append("batch") }
    }
    let group = ServiceGroup(
      services: [database, aggregator, server], gracefulShutdownSignals: [.sigterm, .sigint], logger: logger)
    let run = Begun { try await group.run() }
    try await aggregator.send(1)
    await group.triggerGracefulShutdown()
    try await run.value
    #expect(ends.current == ["server", "batch", "database"])
  }

  // MARK: Batches by key

  @Test
  func batchesByKey() async throws {
    let ledger = Ledger()
    let changes = try KeyedAggregator<String, Change>(
      configuration: .init(batchSize: 100, concurrency: 8, retry: .exponential()), key: \.account
    ) { account, batch in
      try await ledger.apply(batch.messages, to: account)
    } onFailure: { account, failure in
      await ledger.park(failure.messages, of: account)
    }
    for account in ["a", "b", "broken", "a"] { try await changes.send(Change(account: account, amount: 2)) }
    changes.shutdown()
    try await changes.run()
    #expect(await ledger.balances == ["a": 4, "b": 2])
    #expect(await ledger.parked == ["broken": 1])
  }

  // MARK: An answer for each caller

  @Test
  func answersForCallers() async throws {
    let users = try RequestAggregator<Int, User?>(
      configuration: .init(batchSize: 100, linger: .milliseconds(2), concurrency: 4), deduplicating: true
    ) { ids in
      let found = try await database.users(ids.messages)
      return ids.map { found[$0] }
    }
    let same = Begun { try await users.send(42) }
    let missing = Begun { try await users.send(1000) }
    async let running: Void = users.run()
    let user = try await users.send(42)
    #expect(user == User(id: 42))
    #expect(try await same.value == user)
    #expect(try await missing.value == nil)
    #expect(await database.queries == [[42, 1000]])
    users.shutdown()
    try await running
  }

  @Test
  func answersOrErrors() async throws {
    let rows = try RequestAggregator<Int, String>.returningResults { ids in
      let answers = try await store.rows(ids.messages)
      return answers.map { answer in
        answer.map { .success($0) } ?? .failure(MessageError.refuse(because: "there is no such row"))
      }
    }
    let missing = Begun { try await rows.send(1000) }
    async let running: Void = rows.run()
    #expect(try await rows.send(7) == "row 7")
    #expect(await missing.error is MessageError)
    rows.shutdown()
    try await running
  }

  // MARK: Tuning while it runs

  @Test
  func tuningByHand() async throws {
    let aggregator = try Aggregator<Event> { try await database.insert($0) }
    var configuration = aggregator.configuration
    configuration.batchSize = 2_000
    configuration.linger = .milliseconds(50)
    try aggregator.reconfigure(configuration)
    #expect(aggregator.configuration.batchSize == 2000)

    let statistics = aggregator.statistics
    print("\(statistics.held) held, \(statistics.waitingSenders) senders wait")
    print("\(statistics.batches[.size] ?? 0) batches were full, \(statistics.batches[.linger] ?? 0) had waited")
    #expect(printed.current == ["0 held, 0 senders wait", "0 batches were full, 0 had waited"])
  }

  @Test
  func tuningByItself() async throws {
    let aggregator = try Aggregator<Event>(
      configuration: .init(
        batchSize: 100, concurrency: 2,
        adaptation: .towards(handlerTime: .milliseconds(100), batchSize: 10...5_000, concurrency: 1...16))
    ) { batch in
      try await database.insert(batch)
    }
    try await aggregator.send(contentsOf: (0..<1000).map(Event.init))
    aggregator.shutdown()
    try await aggregator.run()
    #expect(await database.events.count == 1000)
    #expect((10...5_000).contains(aggregator.configuration.batchSize))
  }

  // MARK: Testing your handler

  @Test
  func testingTime() async throws {
    let table = Table()
    let clock = ManualClock()
    let aggregator = try Aggregator<Int>(configuration: .init(linger: .seconds(5)), clock: clock) { batch in
      await table.insert(batch.messages)
    }
    async let running: Void = aggregator.run()
    try await aggregator.send(1)
    try await clock.waitForSleeper(until: .seconds(5))
    clock.advance(by: .seconds(5))
    try await aggregator.flush()
    #expect(await table.rows == [1])
    aggregator.shutdown()
    try await running
  }

  @Test
  func testingCalls() async throws {
    let clock = ManualClock()
    let handler = GatedHandler<Batch<Int>>.gated()
    let aggregator = try Aggregator<Int>(configuration: .init(batchSize: 2), clock: clock) { batch in
      try await handler(batch)
    }
    async let running: Void = aggregator.run()
    try await aggregator.send(contentsOf: [1, 2])
    let call = try await handler.call(0)
    #expect(call.input.messages == [1, 2])
    call.fail(DatabaseIsDown())
    aggregator.shutdown()
    try await running
    #expect(aggregator.statistics.failed == 2)
  }

  @Test
  func testingWorlds() async throws {
    try await simulate(seeds: 0..<200) { simulation in
      let table = Table()
      let outcome = try await simulation.run(sending: 0..<50) { batch in
        await table.insert(batch.messages)
      } onFailure: { failure in
        await table.keep(failure.messages)
      }
      for message in outcome.accepted {
        let isThere = await table.has(message)
        try simulation.require(isThere, "message \(message) is lost")
      }
    }
  }
}
