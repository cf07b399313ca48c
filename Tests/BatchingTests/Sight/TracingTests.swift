import BatchingTesting
import InMemoryTracing
import Testing
import Tracing

@testable import Batching

@Suite("Spans of handler calls", .timeLimit(.minutes(5)))
struct TracingTests {
  private let tracer = InMemoryTracer()

  private func rig(
    _ configuration: AggregatorConfiguration, tracing: TracingPolicy = .handlerCalls,
    handler: GatedHandler<Batch<Int>> = .open()
  ) throws -> Rig {
    var configuration = configuration
    configuration.tracing = tracing
    return try withTracer(tracer) { try Rig(configuration, handler: handler) }
  }

  /// Handler calls alone, in the order in which they ended.
  private var calls: [FinishedInMemorySpan] { tracer.finishedSpans.filter { $0.operationName.hasPrefix("process ") } }

  private let retry = RetryPolicy.exponential(maximumAttempts: 2, initial: .zero, maximum: .zero)
  private let isolation = RetryPolicy.exponential(
    maximumAttempts: 1, initial: .zero, maximum: .zero, isolatesPoisonMessages: true)

  @Test
  func aCallIsASpanWithItsBatchsNumbers() async throws {
    let aggregator = try withTracer(tracer) {
      try Aggregator<Int>(name: "orders", configuration: .init(batchSize: 3, tracing: .handlerCalls)) { _ in }
    }
    try await whileRunning(aggregator) { _ in
      try await aggregator.send(contentsOf: 1...3)
      try await aggregator.flush()
    }
    let span = try #require(calls.first)
    #expect(calls.count == 1)
    #expect(span.operationName == "process orders")
    #expect(span.kind == .consumer)
    #expect(span.status == nil)
    #expect(span.links.isEmpty)
    #expect(
      span.attributes == [
        "messaging.batch.message_count": 3, "batching.aggregator": "orders", "batching.batch.sequence_number": 1,
        "batching.batch.attempt": 1, "batching.batch.trigger": "size",
      ])
    #expect(tracer.activeSpans.isEmpty)
  }

  @Test
  func retriesAndHalvesAreSpansOfTheirOwn() async throws {
    let rig = try rig(
      .init(
        batchSize: 2,
        retry: .exponential(maximumAttempts: 2, initial: .zero, maximum: .zero, isolatesPoisonMessages: true)),
      handler: .open { if $0.messages.contains(2) { throw Failure(id: 7) } })
    try await rig.run { rig in
      try await rig.aggregator.send(contentsOf: 1...2)
      try await rig.aggregator.flush()
    }
    #expect(calls.map { $0.attributes.get("batching.batch.attempt") } == [1, 2, 3, 3].map { .int64($0) })
    #expect(calls.map { $0.attributes.get("batching.batch.sequence_number") } == [1, 1, 2, 3].map { .int64($0) })
    #expect(
      calls.map { $0.attributes.get("batching.batch.trigger") }
        == ["size", "size", "split", "split"].map { .string($0) })
    #expect(calls.map { $0.status?.code } == [.error, .error, nil, .error])
    #expect(calls.map { $0.errors.first?.error as? Failure } == [Failure(id: 7), Failure(id: 7), nil, Failure(id: 7)])
    #expect(calls.first?.attributes.get("error.type") == .string("Failure"))
  }

  @Test(arguments: [nil, Duration.seconds(9)])
  func theHandlersOwnSpansAreChildren(timeout: Duration?) async throws {
    let aggregator = try withTracer(tracer) {
      try Aggregator<Int>(
        configuration: .init(batchSize: 1, handlerTimeout: timeout, tracing: .handlerCalls), clock: ManualClock()
      ) { [tracer] _ in
        tracer.withSpan("insert") { _ in }
      }
    }
    try await whileRunning(aggregator) { _ in
      try await aggregator.send(contentsOf: 1...2)
      try await aggregator.flush()
    }
    let inserts = tracer.finishedSpans.filter { $0.operationName == "insert" }
    #expect(inserts.count == 2)
    #expect(inserts.map(\.parentSpanID) == calls.map(\.spanID))
  }

  @Test
  func aCallThatTimesOutIsAnError() async throws {
    let rig = try rig(.init(batchSize: 1, handlerTimeout: .seconds(1)), handler: .gated())
    try await rig.run { rig in
      try await rig.aggregator.send(1)
      let call = try await rig.handler.call(0)
      try await rig.clock.waitForSleeper(until: .seconds(1))
      rig.clock.advance(by: .seconds(1))
      try await call.waitUntilEnded()
    }
    #expect(calls.map { $0.attributes.get("error.type") } == [.string("CancellationError")])
  }

  // MARK: Links

  /// The names of the spans that each call is linked to.
  private var linkedNames: [[String]] {
    let names = Dictionary(uniqueKeysWithValues: tracer.finishedSpans.map { ($0.spanID, $0.operationName) })
    return calls.map { call in call.links.map { names[$0.context.inMemorySpanContext?.spanID ?? ""] ?? "?" } }
  }

  /// Sends in a span of this name.
  private func inSpan(_ name: String, _ send: () async throws -> Void) async throws {
    try await tracer.withSpan(name) { _ in try await send() }
  }

  @Test
  func aCallIsLinkedToItsSendersOnceEach() async throws {
    let rig = try rig(.init(batchSize: 8, linger: .seconds(9)), tracing: .handlerCalls(linkingSenders: 32))
    try await rig.run { rig in
      try await inSpan("a") {
        try await rig.aggregator.send(1)
        #expect(rig.aggregator.trySend(2) == .accepted)
      }
      try await rig.aggregator.send(3)
      try await inSpan("b") { try await rig.aggregator.send(contentsOf: [4, 5, 6]) }
      try await inSpan("c") { try await rig.aggregator.send(contentsOf: AnySequence([7, 8])) }
      try await rig.aggregator.flush()
      #expect(rig.handler.batches == [[1, 2, 3, 4, 5, 6, 7, 8]])
    }
    #expect(linkedNames == [["a", "b", "c"]])
    #expect(calls.map(\.parentSpanID) == [nil], "a batch of many traces belongs to none of them")
  }

  @Test
  func linksAreCapped() async throws {
    let rig = try rig(.init(batchSize: 6), tracing: .handlerCalls(linkingSenders: 2))
    try await rig.run { rig in
      for sender in 1...3 {
        try await inSpan("\(sender)") {
          for message in [2 * sender, 2 * sender + 1] { try await rig.aggregator.send(message) }
        }
      }
      try await rig.aggregator.flush()
    }
    #expect(linkedNames == [["1", "2"]])
  }

  @Test
  func sendersThatHadToWaitAreLinked() async throws {
    let rig = try rig(
      .init(batchSize: 2, capacity: 2), tracing: .handlerCalls(linkingSenders: 9), handler: .gated())
    try await rig.run { rig in
      try await inSpan("first") { try await rig.aggregator.send(contentsOf: [1, 2]) }
      let call = try await rig.handler.call(0)
      let one = Begun { try await inSpan("one") { try await rig.aggregator.send(3) } }
      let many = Begun { try await inSpan("many") { try await rig.aggregator.send(contentsOf: [4, 5, 6]) } }
      try await eventually("they wait") { rig.aggregator.statistics.waitingSenders == 2 }
      call.succeed()
      rig.handler.open()
      try await one.value
      try await many.value
      try await rig.aggregator.flush()
      #expect(rig.handler.batches == [[1, 2], [3, 4], [5, 6]])
    }
    #expect(linkedNames == [["first"], ["one", "many"], ["many"]])
  }

  @Test
  func retriesAndHalvesKeepTheLinksOfTheirMessages() async throws {
    let rig = try rig(
      .init(batchSize: 4, retry: isolation), tracing: .handlerCalls(linkingSenders: 9),
      handler: .open { if $0.messages.contains(4) { throw Failure() } })
    try await rig.run { rig in
      for message in 1...4 { try await inSpan("\(message)") { try await rig.aggregator.send(message) } }
      try await rig.aggregator.flush()
    }
    #expect(linkedNames == [["1", "2", "3", "4"], ["1", "2"], ["3", "4"], ["3"], ["4"]])
  }

  @Test
  func whatIsLeftOfAPartlyFailedBatchKeepsItsLinks() async throws {
    let rig = try rig(
      .init(batchSize: 4, retry: retry), tracing: .handlerCalls(linkingSenders: 9),
      handler: .open { if $0.attempt == 1 { throw PartialBatchFailure([1: Failure(), 3: Failure()]) } })
    try await rig.run { rig in
      try await inSpan("1") { try await rig.aggregator.send(1) }
      try await rig.aggregator.send(2)
      try await inSpan("3") { try await rig.aggregator.send(3) }
      try await inSpan("4") { try await rig.aggregator.send(4) }
      try await rig.aggregator.flush()
      #expect(rig.handler.batches == [[1, 2, 3, 4], [2, 4]])
    }
    #expect(linkedNames == [["1", "3", "4"], ["4"]])
  }

  @Test
  func weightsAndDropsGoTogetherWithLinks() async throws {
    var configuration = AggregatorConfiguration(
      batchSize: 2, capacity: 4, overflow: .dropOldest, maximumBatchWeight: 100)
    configuration.tracing = .handlerCalls(linkingSenders: 9)
    let rig = try withTracer(tracer) { try Rig(configuration, handler: .gated(), weight: { $0 }) }
    try await rig.run { rig in
      for message in 1...2 { try await inSpan("\(message)") { try await rig.aggregator.send(message) } }
      let call = try await rig.handler.call(0)
      for message in 3...5 { try await inSpan("\(message)") { try await rig.aggregator.send(message) } }
      try await rig.failures.waitForCalls(count: 1)
      #expect(rig.failures.inputs.map(\.messages) == [[3]])
      call.succeed()
    }
    #expect(linkedNames == [["1", "2"], ["4"], ["5"]])
  }

  @Test(arguments: batchSizes)
  func messagesWithContextsKeepTheirOrderWhateverTheWay(batchSize: Int) async throws {
    let seen = Watched<[String]>([])
    let aggregator = try withTracer(tracer) {
      try Aggregator<String>(
        configuration: .init(
          batchSize: batchSize, linger: .zero, capacity: 9_000, tracing: .handlerCalls(linkingSenders: 1))
      ) { batch in seen.change { $0 += batch.messages } }
    }
    // Before it runs: a large batch outgrows its first segment.
    let messages = (0..<9_000).map { "message \($0)" }
    try await aggregator.send(contentsOf: messages[..<5_000])
    for message in messages[5_000...] { #expect(aggregator.trySend(message) == .accepted) }
    let waiting = Begun { try await aggregator.send(contentsOf: ["x", "y"]) }
    try await whileRunning(aggregator) { _ in
      try await waiting.value
      try await aggregator.flush()
    }
    #expect(seen.current == messages + ["x", "y"])
  }

  // MARK: Off

  @Test
  func offIsOff() async throws {
    let rig = try rig(.init(batchSize: 1), tracing: .off)
    #expect(rig.aggregator.core.spans == nil)
    try await rig.run { rig in
      try await inSpan("sender") { try await rig.aggregator.send(1) }
    }
    #expect(tracer.finishedSpans.map(\.operationName) == ["sender"])
  }

  @Test
  func withoutATracerItIsOffToo() throws {
    let aggregator = try Aggregator<Int>(
      configuration: .init(tracing: .handlerCalls(linkingSenders: 9))
    ) { _ in }
    #expect(aggregator.core.spans == nil)
    #expect(!aggregator.core.store.keepsContexts)
  }

  @Test(arguments: [0, -1])
  func aSpanWithoutLinksIsNotAskedForByNumber(links: Int) {
    #expect(throws: AggregatorError.invalidConfiguration("", was: "", allowed: "")) {
      try Aggregator<Int>(configuration: .init(tracing: .handlerCalls(linkingSenders: links))) { _ in }
    }
  }
}
