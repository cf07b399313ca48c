import Batching
import BatchingTesting
import Testing

@Suite("Guarantee 10: withAggregator", .timeLimit(.minutes(5)))
struct Guarantee10WithAggregator {
  @Test(arguments: batchSizes, slotCounts)
  func allThatItsBodySentIsSettledWhenItReturns(batchSize: Int, concurrency: Int) async throws {
    let fates = FateRecorder<Int>()
    let clock = ManualClock()
    let output = try await withAggregator(
      of: Int.self,
      configuration: .init(batchSize: batchSize, linger: .seconds(3600), concurrency: concurrency),
      clock: clock
    ) { batch in
      try await fates.record(batch) { if batch.contains(7) { throw Failure() } }
    } onFailure: { failure in
      await fates.record(failure) {}
    } body: { aggregator in
      for message in 0..<20 { try await aggregator.send(message) }
      return "output"
    }
    #expect(output == "output")
    #expect(fates.each.count == 20)
    #expect(fates.all.count == 20)
    #expect(fates.each[7] == .failed(Failure()))
    #expect(clock.deadlines == [])
  }

  @Test(arguments: batchSizes)
  func ifItsBodyThrowsItDrainsThenRethrows(batchSize: Int) async throws {
    let fates = FateRecorder<Int>()
    await #expect(throws: Failure(id: 3)) {
      try await withAggregator(of: Int.self, configuration: .init(batchSize: batchSize, linger: .seconds(3600))) {
        batch in
        #expect(!Task.isCancelled)
        try await fates.record(batch) {}
      } body: { aggregator in
        try await aggregator.send(contentsOf: 0..<7)
        throw Failure(id: 3)
      }
    }
    #expect(fates.all == .of(handled: Array(0..<7)))
  }

  @Test(arguments: batchSizes)
  func inACancelledTaskNothingIsHandledAndItThrows(batchSize: Int) async throws {
    let fates = FateRecorder<Int>()
    let handler = GatedHandler<Batch<Int>>.gated()
    let accepted = Watched<[Int]>([])
    let isCancelled = Watched(false)
    let run = Begun {
      await isCancelled.waitIgnoringCancellation { $0 }
      try await withAggregator(of: Int.self, configuration: .init(batchSize: batchSize)) { batch in
        try await fates.record(batch) { try await handler(batch) }
      } onFailure: { failure in
        await fates.record(failure) {}
      } body: { aggregator in
        // Whether it still accepts depends on who is first; what it accepts has a fate.
        for message in 0..<5 where aggregator.trySend(message) == .accepted { accepted.change { $0.append(message) } }
      }
    }
    run.cancel()
    isCancelled.change { $0 = true }
    #expect(await run.error is CancellationError)
    #expect(fates.all == .of(failed: accepted.current, because: CancellationError()))
    #expect(fates.cancelledFailureCalls == 0)
  }

  @Test(arguments: batchSizes)
  func cancelledWhileItsBodyRunsItGivesUpWhatIsNotHandled(batchSize: Int) async throws {
    let fates = FateRecorder<Int>()
    let handler = GatedHandler<Batch<Int>>.gated()
    let accepted = Watched(false)
    let run = Begun {
      try await withAggregator(of: Int.self, configuration: .init(batchSize: batchSize, linger: .zero)) { batch in
        try await fates.record(batch) { try await handler(batch) }
      } onFailure: { failure in
        await fates.record(failure) {}
      } body: { aggregator in
        try await aggregator.send(contentsOf: 0..<(2 * batchSize))
        accepted.change { $0 = true }
        try await aggregator.flush()
      }
    }
    try await accepted.wait { $0 }
    try await handler.waitForCalls(count: 1)
    run.cancel()
    #expect(await run.error is CancellationError)
    #expect(handler.count == 1)
    #expect(fates.all == .of(failed: Array(0..<(2 * batchSize)), because: CancellationError()))
    #expect(fates.cancelledFailureCalls == 0)
  }

  @Test
  func aBadConfigurationThrowsBeforeItsBodyRuns() async {
    let error = await #expect(throws: AggregatorError.self) {
      try await withAggregator(of: Int.self, configuration: .init(batchSize: 0)) { _ in
      } body: { _ in
        Issue.record("the body ran")
      }
    }
    #expect(error == .invalidConfiguration("batchSize", was: "0", allowed: ""))
  }

  @Test
  func itsBodyMayShutDown() async throws {
    let fates = FateRecorder<Int>()
    try await withAggregator(of: Int.self, configuration: .init(batchSize: 2, linger: .seconds(3600))) { batch in
      try await fates.record(batch) {}
    } body: { aggregator in
      try await aggregator.send(contentsOf: 1...3)
      aggregator.shutdown()
      await #expect(throws: AggregatorError.closed) { try await aggregator.send(4) }
    }
    #expect(fates.all == .of(handled: [1, 2, 3]))
  }
}
