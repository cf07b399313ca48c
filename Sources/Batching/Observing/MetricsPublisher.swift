import CoreMetrics

/// Brings an aggregator's ledger to a metrics backend.
///
/// A backend is a user's code and is never called under a lock. One task at a time publishes; who comes meanwhile leaves a
/// mark, and the one that publishes does so again. So nothing is counted twice, and the gauges end on the latest values.
final class MetricsPublisher: Sendable {
  private struct State: ~Copyable {
    var isPublishing = false
    /// Somebody came while it was being published: the ledger has changed since it was read.
    var isDirty = false
    /// What was published last.
    var last: Totals?
    /// When a sender published last.
    var lastOfSender: Duration?
    /// The end of `run()` waits until nobody else publishes.
    var waiter: UnsafeContinuation<Void, Never>?
  }

  private let state = Guarded(State())
  private let instruments: Instruments
  private let batchSize: Int

  /// Who publishes does so this often in a row for others, and leaves the rest to the next event.
  ///
  /// Without a limit, a slow backend would keep one worker from its batches for as long as others end theirs.
  private static let mostRounds = 8

  /// Senders publish at most this often: it is for the time in which no batch ends.
  private static let pauseOfSenders = Duration.seconds(1)

  /// `nil` when nobody collects metrics: they cost nothing then.
  init?(aggregator name: String, batchSize: Int, factory: any MetricsFactory) {
    if factory is NOOPMetricsHandler { return nil }
    instruments = Instruments(aggregator: name, factory: factory)
    self.batchSize = batchSize
  }

  /// A handler is about to get a batch.
  func batchStarted(size: Int, after wait: Duration) {
    instruments.batchStarted(size: size, of: batchSize, after: wait)
  }

  /// A handler call has ended.
  func handlerEnded(after duration: Duration, threw: Bool) {
    instruments.handlerEnded(after: duration, threw: threw)
  }

  enum Outcome {
    /// The backend has the latest values.
    case done
    /// It was enough for one go, and others have left their mark again.
    case unfinished
    /// Somebody else publishes and will see to it.
    case leftToOther
  }

  /// Publishes what `totals` reads, and again while others ask for it.
  @discardableResult
  func publish(_ totals: () -> Totals) -> Outcome {
    let mayPublish = state.withLock { state in
      state.isDirty = state.isPublishing
      defer { state.isPublishing = true }
      return !state.isPublishing
    }
    guard mayPublish else { return .leftToOther }
    for round in 1... {
      let now = totals()
      let last = state.withLock { state in
        defer { state.last = now }
        return state.last
      }
      instruments.publish(now, since: last)
      let (isDirty, goesOn, waiter) = state.withLock { state in
        let isDirty = state.isDirty
        let goesOn = isDirty && round < Self.mostRounds && state.waiter == nil
        state.isDirty = false
        state.isPublishing = goesOn
        return (isDirty, goesOn, goesOn ? nil : state.waiter.take())
      }
      waiter?.resume()
      if !goesOn { return isDirty ? .unfinished : .done }
    }
    return .done
  }

  /// The same for a sender that was refused or has to wait, or whose message pushed out others.
  ///
  /// It shows a handler that is stuck, which is when no batch ends.
  func publishForSender(now: Duration, _ totals: () -> Totals) {
    let mayPublish = state.withLock { state in
      if let last = state.lastOfSender, now - last < Self.pauseOfSenders { return false }
      state.lastOfSender = now
      return true
    }
    if mayPublish { publish(totals) }
  }

  /// Publishes at the end of `run()`, and returns when it has been done.
  func publishLast(_ totals: () -> Totals) async {
    while true {
      switch publish(totals) {
      case .done: return
      case .unfinished: continue
      case .leftToOther: break
      }
      await withUnsafeContinuation { continuation in
        let waits = state.withLock { state in
          if state.isPublishing { state.waiter = continuation }
          return state.isPublishing
        }
        if !waits { continuation.resume() }
      }
    }
  }
}
