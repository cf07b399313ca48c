import Batching
import BatchingTesting
import InMemoryLogging
import Logging
import Testing

/// Runs the aggregator while `body` runs, then shuts it down and waits for its end.
///
/// `body` gets the run, to cancel it or to wait for its end itself; a run that was cancelled must end with
/// `CancellationError`, any other without an error. `release` is called when the body is over, and when the test's time is
/// up: it lets go what a gate holds.
func whileRunning<Message: Sendable, Output>(
  _ aggregator: Aggregator<Message>,
  releasing release: @escaping @Sendable () -> Void = {},
  sourceLocation: SourceLocation = #_sourceLocation,
  body: (Begun<Void>) async throws -> Output
) async throws -> Output {
  let run = Begun { try await aggregator.run() }
  return try await withTaskCancellationHandler {
    let output: Output
    do {
      output = try await body(run)
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
      #expect(error is CancellationError, "a cancelled run()", sourceLocation: sourceLocation)
    } else {
      #expect(error == nil, "run()", sourceLocation: sourceLocation)
    }
    return output
  } onCancel: {
    release()
    run.cancel()
  }
}

/// An aggregator under test, and all that drives and watches it.
final class Rig: Sendable {
  let clock = ManualClock()
  let handler: GatedHandler<Batch<Int>>
  let failures: GatedHandler<BatchFailure<Int>>
  let fates = FateRecorder<Int>()
  let logs = InMemoryLogHandler()
  let aggregator: Aggregator<Int>

  init(
    _ configuration: AggregatorConfiguration,
    handler: GatedHandler<Batch<Int>> = .gated(),
    failures: GatedHandler<BatchFailure<Int>> = .open(),
    weight: (@Sendable (Int) -> Int)? = nil
  ) throws {
    self.handler = handler
    self.failures = failures
    let fates = fates
    var logger = Logger(label: "test") { [logs] _ in logs }
    logger.logLevel = .trace
    aggregator = try Aggregator(configuration: configuration, clock: clock, logger: logger, weight: weight) { batch in
      try await fates.record(batch) { try await handler(batch) }
    } onFailure: { failure in
      // A failure handler cannot throw; what its gate throws when it is cancelled shows in `cancelledFailureCalls`.
      await fates.record(failure) { try? await failures(failure) }
    }
  }

  /// Runs the aggregator while `body` runs, shuts it down, and checks that its books balance.
  func run<Output>(
    sourceLocation: SourceLocation = #_sourceLocation, _ body: (Rig, Begun<Void>) async throws -> Output
  ) async throws -> Output {
    let output = try await whileRunning(aggregator, releasing: release, sourceLocation: sourceLocation) {
      try await body(self, $0)
    }
    checkBooks(sourceLocation: sourceLocation)
    return output
  }

  func run<Output>(
    sourceLocation: SourceLocation = #_sourceLocation, _ body: (Rig) async throws -> Output
  ) async throws -> Output {
    try await run(sourceLocation: sourceLocation) { rig, _ in try await body(rig) }
  }

  private func release() {
    handler.open()
    failures.open()
  }

  /// After the end: the aggregator's numbers are those that its handlers saw, and nothing is left over.
  private func checkBooks(sourceLocation: SourceLocation) {
    let statistics = aggregator.statistics
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
