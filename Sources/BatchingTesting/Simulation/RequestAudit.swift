import Batching

/// A response that says what it answers, and which handler call gave it.
package struct SimulatedResponse: Sendable, Hashable {
  package var request: Int
  package var call: Int
}

/// Checks the promises of a `RequestAggregator` in a simulation, from what callers and the handler see.
///
/// `@unchecked Sendable` because it is only touched by jobs of one simulation, which run one at a time.
final class RequestAudit: @unchecked Sendable, Auditing {
  /// What is known of a request.
  private struct Entry {
    var wasCancelled = false
    /// It must not come to the handler any more.
    var isTakenBack = false
    var hasBeenSeen = false
    var answers: Set<SimulatedResponse> = []
    /// What handler calls threw for it last.
    var error: String?
    var hasOutcome = false
  }

  private let simulation: Simulation
  private let deduplicates: Bool
  var configuration: AggregatorConfiguration
  private let statistics: () -> AggregatorStatistics
  private var entries: [Int: Entry] = [:]
  private var began: [Int: Duration] = [:]
  private var running = 0
  /// Requests in handler calls that have begun.
  private var inCalls = 0
  private var refusals = 0
  private var cancelledCallers = 0
  private var answered = 0
  var runWasCancelled = false
  var isShutDown = false
  private var hasRunEnded = false

  init(
    simulation: Simulation, configuration: AggregatorConfiguration, deduplicates: Bool,
    statistics: @escaping () -> AggregatorStatistics
  ) {
    self.simulation = simulation
    self.configuration = configuration
    self.deduplicates = deduplicates
    self.statistics = statistics
  }

  private func check(_ holds: Bool, _ finding: @autoclosure () -> String) {
    if !holds { simulation.found(finding()) }
  }

  // MARK: Callers

  func callerBegan(_ request: Int) {
    simulation.trace(.send, request, "request \(request)")
    entries[request] = entries[request] ?? Entry()
  }

  /// The caller of a request is cancelled, by `cancel`.
  func cancel(_ request: Int, _ cancel: () -> Void) {
    simulation.trace(.cancelled, request, "the caller of \(request) is cancelled")
    guard !deduplicates else {
      // Others may ask the same.
      cancelledCallers += 1
      return cancel()
    }
    let before = statistics()
    cancel()
    let after = statistics()
    // It may not have sent it yet.
    var entry = entries[request] ?? Entry()
    guard !entry.hasOutcome else { return }
    entry.wasCancelled = true
    cancelledCallers += 1
    if after.cancelled > before.cancelled {
      check(!entry.hasBeenSeen, "request \(request) was taken back after its batch had started")
      entry.isTakenBack = true
    }
    // No slot has a batch whose handler call has not begun: so the request's has not started.
    if !entry.hasBeenSeen, before.inFlight == inCalls { entry.isTakenBack = true }
    entries[request] = entry
  }

  func callerEnded(_ request: Int, _ result: Result<SimulatedResponse, any Error>) {
    simulation.trace(.sent, request, "request \(request): \(result)")
    guard let entry = entries[request] else { return }
    if !deduplicates { check(!entry.hasOutcome, "request \(request) has two outcomes") }
    entries[request]?.hasOutcome = true
    switch result {
    case .success(let response):
      check(response.request == request, "request \(request) got the answer to \(response.request)")
      check(entry.answers.contains(response), "request \(request) got an answer that no successful call gave")
      check(statistics().handled >= 1, "request \(request) has its answer and is not counted")
    case .failure(let error):
      let reason = error as? AggregatorError
      if reason == .closed || reason == .full { refusals += 1 }
      if deduplicates { return }
      check(
        isExplained(error, entry), "request \(request) failed by \(error), the last call said \(entry.error ?? "-")")
    }
  }

  private func isExplained(_ error: any Error, _ entry: Entry) -> Bool {
    if error is CancellationError { return entry.wasCancelled || runWasCancelled }
    switch error as? AggregatorError {
    case .some(.closed): return isShutDown || runWasCancelled
    case .some(.full): return configuration.overflow != .suspend
    case .some(.dropped): return configuration.overflow == .dropOldest
    case .some(.drainTimedOut): return configuration.drainTimeout != nil && isShutDown
    case .some(.handlerTimedOut): return configuration.handlerTimeout != nil && entry.hasBeenSeen
    default: return entry.error == "\(error)"
    }
  }

  // MARK: Handler calls

  func callBegan(_ id: Int, _ batch: Batch<Int>) {
    simulation.trace(.call, id, "call \(id), attempt \(batch.attempt): \(batch.messages)")
    running += 1
    inCalls += batch.count
    began[id] = simulation.clock.elapsed
    check(!batch.isEmpty && batch.count <= 8, "a batch of \(batch.count)")
    check(!hasRunEnded, "a handler call after the end")
    check(Set(batch.messages).count == batch.count, "the same request twice in a batch: \(batch.messages)")
    for request in batch {
      guard let entry = entries[request] else { return check(false, "request \(request) was never sent") }
      check(!entry.isTakenBack, "request \(request) came to the handler after its caller had taken it back")
      if !deduplicates {
        check(entry.answers.isEmpty, "request \(request) came to the handler after it had been answered")
      }
      entries[request]?.hasBeenSeen = true
    }
  }

  /// What a call has for each request of its batch, or what it throws for all.
  func callEnded(
    _ id: Int, _ batch: Batch<Int>, _ results: Result<[Result<SimulatedResponse, any Error>], any Error>,
    wasCancelled: Bool
  ) {
    simulation.trace(.returned, id, "call \(id): \(results)")
    running -= 1
    inCalls -= batch.count
    // One that has errors for some when its time is up counts as one that threw.
    let time = simulation.clock.elapsed - (began[id] ?? .zero)
    let isTimeUp = wasCancelled && !runWasCancelled && (configuration.handlerTimeout.map { time >= $0 } ?? false)
    switch results {
    case .success(let results) where isTimeUp && results.contains { if case .failure = $0 { true } else { false } }:
      for request in batch { entries[request]?.error = "\(AggregatorError.handlerTimedOut)" }
    case .success(let results) where results.count == batch.count:
      for (request, result) in zip(batch, results) {
        switch result {
        case .success(let response):
          entries[request]?.answers.insert(response)
          answered += 1
        case .failure(let error): entries[request]?.error = "\(error)"
        }
      }
    case .success(let results):
      let error = AggregatorError.wrongNumberOfAnswers(results.count, to: batch.count)
      for request in batch { entries[request]?.error = "\(error)" }
    case .failure(let error):
      for request in batch { entries[request]?.error = "\(error)" }
    }
  }

  func runEnded() {
    hasRunEnded = true
    check(running == 0, "run() returned while \(running) handler calls ran")
  }

  // MARK: The books

  func afterStep() {
    let numbers = statistics()
    check(
      numbers.accepted == numbers.handled + numbers.failed + numbers.dropped + numbers.cancelled + numbers.held,
      "the ledger does not add up: \(numbers)")
    check(numbers.inFlight >= 0 && numbers.held >= numbers.inFlight, "\(numbers.inFlight) in flight: \(numbers)")
    check(numbers.cancelled <= cancelledCallers, "\(numbers.cancelled) taken back by \(cancelledCallers) callers")
  }

  func atRest() {
    let numbers = statistics()
    check(
      numbers.waitingSenders == 0 || numbers.held >= configuration.effectiveCapacity,
      "\(numbers.waitingSenders) callers wait for room that is there")
  }

  func checkEnd(callers: Int) {
    let numbers = statistics()
    check(entries.values.allSatisfy(\.hasOutcome), "a caller without an outcome")
    check(numbers.held == 0 && numbers.inFlight == 0, "something is held after the end: \(numbers)")
    check(numbers.rejected == refusals, "\(numbers.rejected) rejected, and \(refusals) callers were refused")
    let most = callers - refusals
    check(
      numbers.accepted <= most && numbers.accepted >= most - cancelledCallers,
      "\(numbers.accepted) accepted of \(callers), \(refusals) refused, \(cancelledCallers) cancelled")
    if !deduplicates {
      check(numbers.handled == answered, "\(numbers.handled) handled, and \(answered) answered")
    }
  }
}
