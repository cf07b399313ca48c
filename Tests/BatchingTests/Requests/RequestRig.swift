import Batching
import BatchingTesting
import Testing

/// An aggregator of requests under test: a request is a number, its response the number as text.
final class RequestRig: Sendable {
  let clock = ManualClock()
  let handler: GatedHandler<Batch<Int>>
  let aggregator: RequestAggregator<Int, String>

  init(
    _ configuration: AggregatorConfiguration = .init(),
    handler: GatedHandler<Batch<Int>> = .gated(),
    weight: (@Sendable (Int) -> Int)? = nil,
    responses: @escaping @Sendable (Batch<Int>) throws -> [String] = { $0.map { "\($0)" } }
  ) throws {
    self.handler = handler
    aggregator = try RequestAggregator(configuration: configuration, clock: clock, weight: weight) { batch in
      try await handler(batch)
      return try responses(batch)
    }
  }

  /// The handler has a result for each request.
  init(
    _ configuration: AggregatorConfiguration = .init(),
    handler: GatedHandler<Batch<Int>> = .open(),
    results: @escaping @Sendable (Batch<Int>) throws -> [Result<String, any Error>]
  ) throws {
    self.handler = handler
    aggregator = try RequestAggregator.returningResults(configuration: configuration, clock: clock) { batch in
      try await handler(batch)
      return try results(batch)
    }
  }

  var statistics: AggregatorStatistics { aggregator.statistics }

  /// Begins to send a request, which is accepted or waits for room when this returns.
  func begin(_ request: Int) -> Begun<String> {
    Begun { try await self.aggregator.send(request) }
  }

  func begin(_ requests: some Sequence<Int>) -> [Begun<String>] { requests.map { begin($0) } }

  /// Runs the aggregator while `body` runs, shuts it down, and checks that its books balance.
  func run(sourceLocation: SourceLocation = #_sourceLocation, _ body: (Begun<Void>) async throws -> Void) async throws {
    let run = Begun { try await self.aggregator.run() }
    do {
      try await body(run)
    } catch {
      handler.open()
      run.cancel()
      _ = await run.result
      throw error
    }
    handler.open()
    aggregator.shutdown()
    let error = await run.error
    #expect(run.wasCancelled == (error is CancellationError), sourceLocation: sourceLocation)
    #expect(statistics.addsUp, "\(statistics)", sourceLocation: sourceLocation)
    #expect(
      [statistics.held, statistics.inFlight, statistics.waitingSenders] == [0, 0, 0], sourceLocation: sourceLocation)
    #expect(clock.deadlines == [], "a sleeper outlives run()", sourceLocation: sourceLocation)
  }
}

extension Begun<String> {
  /// The operation has to end with this.
  func expect(_ answer: String, sourceLocation: SourceLocation = #_sourceLocation) async throws {
    let value = try await value
    #expect(value == answer, sourceLocation: sourceLocation)
  }
}
