import Batching
import BatchingTesting
import Testing

@Suite("Requests, on real threads", .timeLimit(.minutes(5)))
struct RequestsUnderLoad {
  private struct Refused: Error {}

  /// Callers, some of whom are cancelled: one outcome each, the right one, and books that balance whenever somebody looks.
  @Test(arguments: [1, 3], [1, 8])
  func allHolds(concurrency: Int, batchSize: Int) async throws {
    let answered = Watched(0)
    let aggregator = try RequestAggregator<Int, Int>.returningResults(
      configuration: .init(
        batchSize: batchSize, linger: .microseconds(200), concurrency: concurrency, capacity: 4 * batchSize,
        retry: .exponential(maximumAttempts: 2, initial: .microseconds(100), maximum: .milliseconds(1)))
    ) { batch in
      if batch.sequenceNumber.isMultiple(of: 5) { await Task.yield() }
      if batch.attempt == 1, batch.sequenceNumber.isMultiple(of: 11) { return [] }
      let results = batch.map { request -> Result<Int, any Error> in
        request.isMultiple(of: 13) ? .failure(MessageError.refuse(because: "13")) : .success(2 * request)
      }
      answered.change { $0 += results.count { if case .success = $0 { true } else { false } } }
      return results
    }
    let run = Begun { try await aggregator.run() }
    let isOver = Watched(false)
    let sampler = Task.detached {
      while !isOver.current {
        let statistics = aggregator.statistics
        #expect(statistics.addsUp, "\(statistics)")
        await Task.yield()
      }
    }
    let outcomes = await withTaskGroup(of: [String: Int].self) { group in
      for caller in 0..<8 { group.addTask { await ask(aggregator, caller: caller) } }
      return await group.reduce(into: [:]) { $0.merge($1, uniquingKeysWith: +) }
    }
    aggregator.shutdown()
    try await run.value
    isOver.change { $0 = true }
    await sampler.value
    let statistics = aggregator.statistics
    #expect(outcomes.values.reduce(0, +) == 1200)
    #expect(statistics.addsUp && statistics.held == 0)
    #expect(statistics.handled == answered.current)
    #expect(statistics.handled >= outcomes["answered", default: 0])
    #expect(statistics.failed >= outcomes["refused", default: 0])
    #expect(statistics.cancelled <= outcomes["cancelled", default: 0])
  }

  /// One caller's requests, one after the other; every seventh is cancelled.
  private func ask(_ aggregator: RequestAggregator<Int, Int>, caller: Int) async -> [String: Int] {
    var outcomes: [String: Int] = [:]
    for turn in 0..<150 {
      let request = 1 + caller + 8 * turn
      let isCancelled = request.isMultiple(of: 7)
      let call = Begun { try await aggregator.send(request) }
      if isCancelled {
        if turn.isMultiple(of: 2) { await Task.yield() }
        call.cancel()
      }
      let outcome: String
      do {
        let response = try await call.value
        #expect(response == 2 * request)
        outcome = "answered"
      } catch is MessageError {
        #expect(request.isMultiple(of: 13))
        outcome = "refused"
      } catch {
        #expect(error is CancellationError && isCancelled, "\(error)")
        outcome = "cancelled"
      }
      outcomes[outcome, default: 0] += 1
    }
    return outcomes
  }
}
