import Batching
import BatchingTesting
import Testing

/// A message of the tests by key.
struct Item: Hashable, Sendable, CustomStringConvertible {
  var key: String
  var number: Int

  init(_ key: String, _ number: Int) {
    self.key = key
    self.number = number
  }

  var description: String { "\(key)\(number)" }
}

/// `a1 b1 a2`, by the words of a text.
func items(_ text: String) -> [Item] {
  text.split(separator: " ").map { Item(String($0.prefix(1)), Int($0.dropFirst()) ?? 0) }
}

/// A by-key aggregator under test, and all that drives and watches it.
final class KeyedRig: Sendable {
  let clock = ManualClock()
  let handler: GatedHandler<Batch<Item>>
  let failures: GatedHandler<BatchFailure<Item>>
  let fates = FateRecorder<Item>()
  let aggregator: KeyedAggregator<String, Item>

  init(
    _ configuration: AggregatorConfiguration,
    handler: GatedHandler<Batch<Item>> = .gated(),
    failures: GatedHandler<BatchFailure<Item>> = .open(),
    weight: (@Sendable (Item) -> Int)? = nil
  ) throws {
    self.handler = handler
    self.failures = failures
    let fates = fates
    aggregator = try KeyedAggregator(configuration: configuration, clock: clock, weight: weight, key: \.key) {
      key, batch in
      #expect(batch.allSatisfy { $0.key == key })
      try await fates.record(batch) { try await handler(batch) }
    } onFailure: { key, failure in
      #expect(failure.messages.allSatisfy { $0.key == key })
      await fates.record(failure) { try? await failures(failure) }
    }
  }

  var statistics: AggregatorStatistics { aggregator.statistics }

  /// What the handler was given, in the order of the calls.
  var calls: [String] { handler.inputs.map { $0.map(\.description).joined(separator: " ") } }

  func send(_ text: String) async throws { try await aggregator.send(contentsOf: items(text)) }

  /// Runs the aggregator while `body` runs, shuts it down, and checks that its books balance.
  func run(sourceLocation: SourceLocation = #_sourceLocation, _ body: (Begun<Void>) async throws -> Void) async throws {
    let aggregator = aggregator
    let run = Begun { try await aggregator.run() }
    try await withTaskCancellationHandler {
      do {
        try await body(run)
      } catch {
        release()
        run.cancel()
        _ = await run.result
        throw error
      }
      release()
      aggregator.shutdown()
      let error = await run.error
      if run.wasCancelled {
        #expect(error is CancellationError, sourceLocation: sourceLocation)
      } else {
        #expect(error == nil, sourceLocation: sourceLocation)
      }
      checkBooks(sourceLocation: sourceLocation)
    } onCancel: {
      release()
      run.cancel()
    }
  }

  private func release() {
    handler.open()
    failures.open()
  }

  private func checkBooks(sourceLocation: SourceLocation) {
    let statistics = statistics
    #expect(statistics.addsUp, "\(statistics)", sourceLocation: sourceLocation)
    #expect(
      [statistics.held, statistics.inFlight, statistics.waitingSenders] == [0, 0, 0], "held, in flight, waiting",
      sourceLocation: sourceLocation)
    let seen = [
      fates.count { $0 == .handled },
      fates.count { if case .failed = $0 { true } else { false } },
      fates.count { $0 == .dropped },
    ]
    #expect(
      seen == [statistics.handled, statistics.failed, statistics.dropped], "handled, failed, dropped",
      sourceLocation: sourceLocation)
    #expect(fates.manifold == [:], "one fate each", sourceLocation: sourceLocation)
    #expect(fates.cancelledFailureCalls == 0, "onFailure in a cancelled task", sourceLocation: sourceLocation)
    #expect(clock.deadlines == [], "a sleeper outlives run()", sourceLocation: sourceLocation)
  }
}
