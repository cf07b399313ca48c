import Batching
import BatchingTesting
import Testing

/// User code that asks the aggregator back: were it called under the lock, it would never return.
@Suite("Guarantee 7: no user code under the lock", .timeLimit(.minutes(5)))
struct Guarantee07NoUserCodeUnderTheLock {
  @Test
  func weightMayAskTheAggregator() async throws {
    let asked = Watched<Aggregator<Int>?>(nil)
    defer { asked.change { $0 = nil } }
    let aggregator = try Aggregator<Int>(
      configuration: .init(batchSize: 2, maximumBatchWeight: 5),
      weight: { message in
        _ = asked.current?.statistics
        return message
      }
    ) { _ in }
    asked.change { $0 = aggregator }
    // On a thread of its own, which is all that is lost should it never come back.
    let result = try await onThread { aggregator.trySend(1) }
    #expect(result == .accepted)
    let finished = Watched(false)
    let task = Task {
      defer { finished.change { $0 = true } }
      try await aggregator.send(2)
      try await aggregator.send(contentsOf: [3, 4])
    }
    try await finished.wait { $0 }
    try await task.value
    try await whileRunning(aggregator) { _ in }
    #expect(aggregator.statistics.handled == 4)
  }

  @Test
  func aMessageIsWeighedOnceThoughItWaits() async throws {
    let weighed = Watched<[Int]>([])
    let rig = try Rig(
      .init(batchSize: 1, capacity: 1, maximumBatchWeight: 100),
      weight: { message in
        weighed.change { $0.append(message) }
        return message
      })
    try await rig.run { rig in
      try await rig.aggregator.send(1)
      let call = try await rig.handler.call(0)
      let waiting = Begun { try await rig.aggregator.send(2) }
      try await eventually("it waits") { rig.aggregator.statistics.waitingSenders == 1 }
      call.succeed()
      try await waiting.value
      #expect(rig.aggregator.trySend(3) == .full)
    }
    #expect(weighed.current == [1, 2, 3])
  }

  @Test
  func theIteratorOfASequenceMaySend() async throws {
    let aggregator = try Aggregator<Int>(configuration: .init(batchSize: 3)) { _ in }
    let finished = Watched(false)
    let task = Task {
      defer { finished.change { $0 = true } }
      try await aggregator.send(
        contentsOf: (1...5).lazy.map { message in
          aggregator.trySend(100 + message) == .accepted ? message : 0
        })
    }
    try await finished.wait { $0 }
    try await task.value
    try await whileRunning(aggregator) { _ in }
    #expect(aggregator.statistics.handled == 10)
  }

  /// A message that asks its aggregator when it goes.
  private final class Token: Sendable {
    private let goodbye: @Sendable () -> Void

    init(_ goodbye: @escaping @Sendable () -> Void) { self.goodbye = goodbye }

    deinit { goodbye() }
  }

  private struct Farewells: Sendable {
    var aggregator: Aggregator<Token>?
    var count = 0
  }

  @Test(arguments: batchSizes, [OverflowPolicy.reject, .dropOldest, .suspend])
  func theDeinitOfAMessageMayAskTheAggregator(batchSize: Int, overflow: OverflowPolicy) async throws {
    let farewells = Watched(Farewells())
    defer { farewells.change { $0.aggregator = nil } }
    let aggregator = try Aggregator<Token>(
      configuration: .init(batchSize: batchSize, linger: .zero, capacity: 2 * batchSize, overflow: overflow)
    ) { batch in
      if batch.sequenceNumber.isMultiple(of: 2) { throw Failure() }
    }
    farewells.change { $0.aggregator = aggregator }
    let farewell: @Sendable () -> Void = {
      _ = farewells.current.aggregator?.statistics
      farewells.change { $0.count += 1 }
    }
    try await whileRunning(aggregator) { _ in
      for _ in 0..<50 { _ = aggregator.trySend(Token(farewell)) }
      for _ in 0..<50 { try? await aggregator.send(Token(farewell)) }
      try? await aggregator.send(contentsOf: (0..<50).map { _ in Token(farewell) })
    }
    // And none is kept.
    #expect(farewells.current.count == 150)
  }
}
