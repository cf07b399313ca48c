extension Machine {
  /// Why nothing is to be tried any more, if so.
  var abortReason: AbortReason? {
    if case .aborted(let reason) = phase { reason } else { nil }
  }

  /// An attempt after the first is about to begin, for a whole list or for half of one, which is a batch of its own.
  ///
  /// Returns why it must not.
  mutating func attemptBegan(count: Int, isHalf: Bool) -> AbortReason? {
    if let abortReason { return abortReason }
    ledger.inFlight += count
    ledger.retries += 1
    if isHalf { batchesTaken[.split] += 1 }
    return nil
  }

  /// A handler call with `count` messages has ended, and has handled some of them.
  mutating func attemptEnded(
    count: Int, handled: Int, weight: Int, now: @autoclosure () -> Duration, _ effects: inout Effects<Waiter>
  ) {
    countOpen()
    countInbox()
    ledger.inFlight -= count
    ledger.handled += handled
    left(handled, weight: weight, now: now(), &effects)
  }

  /// Messages have been given up, and the failure handler has returned.
  mutating func failuresSaved(
    count: Int, weight: Int, now: @autoclosure () -> Duration, _ effects: inout Effects<Waiter>
  ) {
    countOpen()
    countInbox()
    ledger.failed += count
    left(count, weight: weight, now: now(), &effects)
  }

  /// All messages of a batch are settled.
  mutating func batchSettled(epoch: Int, _ effects: inout Effects<Waiter>) {
    released(epoch, &effects)
  }

  /// Messages are held no longer: there is room for others.
  private mutating func left(
    _ count: Int, weight: Int, now: @autoclosure () -> Duration, _ effects: inout Effects<Waiter>
  ) {
    ledger.held -= count
    heldWeight -= weight
    admitSenders(now: now(), &effects)
    limitHotPath()
  }
}

// MARK: - Flush

extension Machine {
  /// Somebody wants all that is held settled.
  ///
  /// Returns the ID under which it waits, or `nil` when nothing is held.
  mutating func flushAsked(_ effects: inout Effects<Waiter>) -> Int? {
    countOpen()
    close(.flush, &effects)
    limitHotPath()
    return settlementAsked()
  }

  /// Somebody wants to know when all that is held, and not in the open batch, is settled.
  ///
  /// Returns the ID under which it waits, or `nil` when nothing is held.
  mutating func settlementAsked() -> Int? {
    countInbox()
    guard let epoch = epochs.close() else { return nil }
    retract(isWanted: true)
    return flushers.enter(epoch)
  }

  /// A flusher brings its continuation, or learns what has become of it.
  mutating func flusherWaits(_ id: Int, _ waiter: Waiter) -> Wake? {
    flushers.attach(waiter, to: id)
  }

  /// A flusher's task was cancelled.
  mutating func flusherCancelled(_ id: Int, _ effects: inout Effects<Waiter>) {
    _ = flushers.release(id, &effects) { _ in .cancelled(admitted: 0) }
  }

  /// A batch, or drops, of this epoch are settled: those who waited for it go on.
  mutating func released(_ epoch: Int, count: Int = 1, _ effects: inout Effects<Waiter>) {
    guard epochs.release(epoch, count: count) else { return }
    releaseFlushers(&effects)
  }

  mutating func releaseFlushers(_ effects: inout Effects<Waiter>) {
    while !flushers.isEmpty, flushers.first < epochs.firstUnsettled {
      flushers.releaseFirst(.settled, &effects)
    }
  }
}
