import BatchingTesting
import InMemoryTracing
import Testing
import Tracing

@testable import Batching

/// Contexts of senders are kept as long as their messages wait, and no longer.
@Suite("Spans: contexts of senders are let go", .timeLimit(.minutes(5)))
struct ContextLifetimeTests {
  /// Counts how many of it there are.
  private final class Token: Sendable {
    let alive: Watched<Int>

    init(_ alive: Watched<Int>) {
      self.alive = alive
      alive.change { $0 += 1 }
    }

    deinit { alive.change { $0 -= 1 } }
  }

  private enum TokenKey: ServiceContextKey { typealias Value = Token }

  private let alive = Watched(0)

  private func rig(
    _ configuration: AggregatorConfiguration, tracing: TracingPolicy = .handlerCalls(linkingSenders: 9)
  ) throws -> Rig {
    var configuration = configuration
    configuration.tracing = tracing
    // A tracer that keeps nothing of what it is told: only the aggregator can hold a context.
    return try withTracer(ForgetfulTracer()) { try Rig(configuration) }
  }

  private func withToken<Output>(_ body: () async throws -> Output) async throws -> Output {
    var context = ServiceContext.topLevel
    context[TokenKey.self] = Token(alive)
    return try await ServiceContext.withValue(context) { try await body() }
  }

  @Test
  func whenTheirMessagesAreSettled() async throws {
    let rig = try rig(.init(batchSize: 2))
    try await rig.run { rig in
      for message in 1...2 { try await withToken { try await rig.aggregator.send(message) } }
      let call = try await rig.handler.call(0)
      #expect(alive.current == 2)
      call.succeed()
      try await rig.aggregator.flush()
      try await alive.wait { $0 == 0 }
    }
  }

  @Test
  func whenTheirMessagesArePushedOut() async throws {
    let rig = try rig(.init(batchSize: 2, capacity: 2, overflow: .dropOldest))
    for message in 1...5 { try await withToken { _ = rig.aggregator.trySend(message) } }
    // Two are held, and two wait for the failure handler; the fifth was refused.
    #expect(alive.current == 4)
    rig.handler.open()
    try await rig.run { _ in try await alive.wait { $0 == 0 } }
    #expect(rig.aggregator.statistics.dropped == 2)
  }

  @Test
  func whenTheirSendersAreCancelled() async throws {
    let rig = try rig(.init(batchSize: 2, capacity: 2))
    try await withToken { try await rig.aggregator.send(contentsOf: [1, 2]) }
    let waiting = try await withToken { Begun { try await rig.aggregator.send(contentsOf: [3, 4, 5]) } }
    #expect(alive.current == 2)
    waiting.cancel()
    #expect(await waiting.error as? AggregatorError == .cancelled)
    try await alive.wait { $0 == 1 }
    rig.handler.open()
    try await rig.run { _ in try await alive.wait { $0 == 0 } }
  }

  @Test
  func whenTheAggregatorIsThrownAway() async throws {
    var rig: Rig? = try rig(.init(batchSize: 2, capacity: 4, overflow: .dropOldest))
    for message in 1...5 { try await withToken { _ = rig?.aggregator.trySend(message) } }
    #expect(alive.current == 5, "four are held, one waits for the failure handler")
    rig = nil
    try await alive.wait { $0 == 0 }
  }

  @Test(arguments: [TracingPolicy.off, .handlerCalls])
  func andTheyAreNotKeptAtAllWhereNothingIsLinked(tracing: TracingPolicy) async throws {
    let rig = try rig(.init(batchSize: 2, capacity: 2), tracing: tracing)
    for message in 1...2 { try await withToken { try await rig.aggregator.send(message) } }
    #expect(alive.current == 0)
    rig.handler.open()
    try await rig.run { _ in }
  }
}

/// A tracer that records nothing, and is not the one that stands for none.
private struct ForgetfulTracer: Tracer {
  func startSpan<Instant: TracerInstant>(
    _ operationName: String, context: @autoclosure () -> ServiceContext, ofKind kind: SpanKind,
    at instant: @autoclosure () -> Instant, function: String, file fileID: String, line: UInt
  ) -> NoOpTracer.NoOpSpan {
    NoOpTracer.NoOpSpan(context: context())
  }

  func forceFlush() {}

  func extract<Carrier, Extract>(
    _ carrier: Carrier, into context: inout ServiceContext, using extractor: Extract
  ) where Extract: Extractor, Carrier == Extract.Carrier {}

  func inject<Carrier, Inject>(
    _ context: ServiceContext, into carrier: inout Carrier, using injector: Inject
  ) where Inject: Injector, Carrier == Inject.Carrier {}
}
