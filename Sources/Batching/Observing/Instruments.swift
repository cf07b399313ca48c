import CoreMetrics

/// The metrics of one aggregator, each made once.
struct Instruments: Sendable {
  private let accepted: Counter
  private let handled: Counter
  private let failed: Counter
  private let dropped: Counter
  private let cancelled: Counter
  private let rejected: Counter
  private let retries: Counter
  /// By trigger, in the order of `Trigger.allCases`.
  private let batchesTaken: [(trigger: Trigger, counter: Counter)]

  private let held: Meter
  private let inFlight: Meter
  private let waitingSenders: Meter

  private let batchSize: Recorder
  private let batchFill: Recorder
  private let batchWait: Timer
  private let handlerSuccess: Timer
  private let handlerFailure: Timer

  init(aggregator name: String, factory: any MetricsFactory) {
    let dimensions = [("batching.aggregator", name)]
    func counter(_ label: String, _ more: [(String, String)] = []) -> Counter {
      Counter(label: label, dimensions: dimensions + more, factory: factory)
    }
    func meter(_ label: String) -> Meter {
      Meter(label: label, dimensions: dimensions, factory: factory)
    }
    func recorder(_ label: String) -> Recorder {
      Recorder(label: label, dimensions: dimensions, aggregate: true, factory: factory)
    }
    func timer(_ label: String, _ more: [(String, String)] = []) -> Timer {
      Timer(label: label, dimensions: dimensions + more, preferredDisplayUnit: .seconds, factory: factory)
    }
    accepted = counter("batching.message.accepted")
    handled = counter("batching.message.handled")
    failed = counter("batching.message.failed")
    dropped = counter("batching.message.dropped")
    cancelled = counter("batching.message.cancelled")
    rejected = counter("batching.message.rejected")
    retries = counter("batching.attempt.retries")
    batchesTaken = Trigger.allCases.map {
      ($0, counter("batching.batch.taken", [("batching.trigger", $0.description)]))
    }
    held = meter("batching.message.held")
    inFlight = meter("batching.message.in_flight")
    waitingSenders = meter("batching.sender.waiting")
    batchSize = recorder("batching.batch.size")
    batchFill = recorder("batching.batch.fill")
    batchWait = timer("batching.batch.wait")
    handlerSuccess = timer("batching.handler.duration", [("batching.outcome", "success")])
    handlerFailure = timer("batching.handler.duration", [("batching.outcome", "failure")])
  }

  /// Counts what has happened between two looks at the ledger, and says how things stand.
  ///
  /// What has not changed costs nothing.
  func publish(_ totals: Totals, since last: Totals?) {
    let before = last ?? Totals()
    count(accepted, totals.accepted - before.accepted)
    count(handled, totals.handled - before.handled)
    count(failed, totals.failed - before.failed)
    count(dropped, totals.dropped - before.dropped)
    count(cancelled, totals.cancelled - before.cancelled)
    count(rejected, totals.rejected - before.rejected)
    count(retries, totals.retries - before.retries)
    for (trigger, counter) in batchesTaken {
      count(counter, totals.batches[trigger] - before.batches[trigger])
    }
    if totals.held != last?.held { held.set(totals.held) }
    if totals.inFlight != last?.inFlight { inFlight.set(totals.inFlight) }
    if totals.waitingSenders != last?.waitingSenders { waitingSenders.set(totals.waitingSenders) }
  }

  private func count(_ counter: Counter, _ amount: Int) {
    if amount > 0 { counter.increment(by: amount) }
  }

  func batchStarted(size: Int, of limit: Int, after wait: Duration) {
    batchSize.record(size)
    batchFill.record(Double(size) / Double(limit))
    batchWait.recordNanoseconds(wait.nanoseconds)
  }

  func handlerEnded(after duration: Duration, threw: Bool) {
    (threw ? handlerFailure : handlerSuccess).recordNanoseconds(duration.nanoseconds)
  }
}

extension Duration {
  /// In whole nanoseconds; at most what 64 bits hold, and never less than zero.
  fileprivate var nanoseconds: Int64 {
    let (seconds, attoseconds) = components
    let (whole, overflows) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
    let (sum, overflowsToo) = whole.addingReportingOverflow(attoseconds / 1_000_000_000)
    return overflows || overflowsToo ? (seconds < 0 ? 0 : .max) : max(sum, 0)
  }
}
