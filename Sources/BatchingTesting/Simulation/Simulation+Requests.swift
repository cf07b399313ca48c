import Batching

extension Simulation {
  /// Runs a `RequestAggregator` to its end, with callers that are cancelled, and a handler that fails in every way it can.
  ///
  /// The requests are `0..<requests`; where equal ones are sent once, only a few differ.
  package func run(asking requests: Int, deduplicating: Bool = false) async throws {
    let configuration = anyConfiguration()
    note("\(configuration)")
    let statistics = Watched<(@Sendable () -> AggregatorStatistics)?>(nil)
    let audit = RequestAudit(
      simulation: self, configuration: configuration, deduplicates: deduplicating,
      statistics: { statistics.current?() ?? AggregatorStatistics() })
    let answering = Answering<Int, SimulatedResponse>(results: { try await self.answer($0, audit) })
    let aggregator = try RequestAggregator<Int, SimulatedResponse>(
      configuration: configuration, clock: clock, random: { self.jitter() },
      answering: deduplicating ? answering.deduplicated() : answering)
    statistics.change { $0 = { aggregator.statistics } }
    add(audit, messages: requests)
    let drive = RequestDrive(simulation: self, aggregator: aggregator, audit: audit, deduplicates: deduplicating)
    await drive.fromBeginningToEnd(requests)
    audit.checkEnd(callers: requests)
  }

  private func answer(
    _ batch: Batch<Int>, _ audit: RequestAudit
  ) async throws -> [Result<SimulatedResponse, any Error>] {
    let call = nextCall()
    audit.callBegan(call, batch)
    do {
      let results = try await results(of: batch, call)
      audit.callEnded(call, batch, .success(results), wasCancelled: Task.isCancelled)
      return results
    } catch {
      audit.callEnded(call, batch, .failure(error), wasCancelled: Task.isCancelled)
      throw error
    }
  }

  private func results(of batch: Batch<Int>, _ call: Int) async throws -> [Result<SimulatedResponse, any Error>] {
    var results = batch.map { Result<SimulatedResponse, any Error>.success(.init(request: $0, call: call)) }
    if faults.contains(.slowHandlers) { await pause() }
    guard chance(0.5) else { return results }
    switch random(in: 0...4) {
    case 0 where faults.contains(.errorsBefore): throw anyError(call)
    case 1 where faults.contains(.errorsAfter):
      await pause()
      throw anyError(call)
    case 2 where faults.contains(.partialFailures):
      for offset in results.indices where chance(0.4) { results[offset] = .failure(anyError(call)) }
    case 3 where faults.contains(.partialFailures):
      // Too few, or one too many.
      if chance(0.3) {
        results.append(results[0])
      } else {
        results.removeLast(random(in: 1...results.count))
      }
    case 4 where faults.contains(.hangs):
      try await clock.sleep(for: .seconds(3600))
    default: break
    }
    return results
  }

  private func anyError(_ call: Int) -> any Error {
    chance(0.5)
      ? SimulatedError(call: call) : SimulatedAdvice(call: call, isRetryable: chance(0.5), retryAfter: nil)
  }
}

/// Asks, flushes, cancels, and brings the aggregator to its end, as the seed decides.
private struct RequestDrive: Sendable {
  let simulation: Simulation
  let aggregator: RequestAggregator<Int, SimulatedResponse>
  let audit: RequestAudit
  let deduplicates: Bool

  func fromBeginningToEnd(_ requests: Int) async {
    let run = inBackground {
      if simulation.chance(0.2) { await simulation.pause() }
      do { try await aggregator.run() } catch { simulation.note("run() threw \(error)") }
      audit.runEnded()
    }
    let others = inBackground { await interfere(run) }
    let callers = (0..<requests).map { number in
      let request = deduplicates ? number % 3 : number
      return (request, inBackground { await ask(request) })
    }
    if simulation.faults.contains(.cancelledSenders) {
      for (request, caller) in callers where simulation.chance(0.25) {
        await simulation.pause(atMost: .milliseconds(8))
        audit.cancel(request) { caller.cancel() }
      }
    }
    if simulation.chance(0.5) {
      // The end comes when all have their answers, or while they wait for them.
      for (_, caller) in callers where simulation.chance(0.5) { await caller.value }
    }
    audit.isShutDown = true
    aggregator.shutdown()
    for (_, caller) in callers { await caller.value }
    await run.value
    await others.value
  }

  private func ask(_ request: Int) async {
    await simulation.pause()
    audit.callerBegan(request)
    do {
      audit.callerEnded(request, .success(try await aggregator.send(request)))
    } catch {
      audit.callerEnded(request, .failure(error))
    }
  }

  /// Flushes, changes sizes, ends it early.
  private func interfere(_ run: Task<Void, Never>) async {
    await simulation.pause()
    if simulation.chance(0.3) { try? await aggregator.flush() }
    if simulation.faults.contains(.reconfigurations), simulation.chance(0.3) {
      let other = simulation.anyConfiguration()
      var configuration = aggregator.configuration
      configuration.batchSize = other.batchSize
      configuration.linger = other.linger
      configuration.concurrency = other.concurrency
      configuration.capacity = other.capacity
      do {
        try aggregator.reconfigure(configuration)
        audit.configuration = configuration
      } catch {
        simulation.found("\(configuration) was refused: \(error)")
      }
    }
    await simulation.pause()
    if simulation.faults.contains(.cancelledRuns), simulation.chance(0.15) {
      audit.runWasCancelled = true
      run.cancel()
    } else if simulation.faults.contains(.earlyShutdowns), simulation.chance(0.2) {
      audit.isShutDown = true
      aggregator.shutdown()
    }
  }

  private func inBackground(_ body: @escaping @Sendable () async -> Void) -> Task<Void, Never> {
    Task(executorPreference: simulation.executor) { await body() }
  }
}
