import DequeModule

extension Machine {
  /// Whether there is something to do at the lock for a slot whose batch has ended, beside taking the next.
  private var slotIsWanted: Bool {
    !senders.isEmpty || !flushers.isEmpty || phase != .open || hasTooManyWorkers
  }

  /// A slot has taken a batch, or found none, and goes on without the lock if it may.
  mutating func slotAttends(with batch: TakenBatch?) -> InboxReader? {
    guard slotMayAttend, batch?.abort == nil else { return nil }
    return inbox.attend(with: batch)
  }

  /// Whether nobody does yet, and nothing else is to be done at the lock.
  var slotMayAttend: Bool { settings.hasInbox && !inbox.isAttended && !slotIsWanted }

  /// The slot that attends to the inbox has come to the lock.
  ///
  /// It attends to it no longer.
  mutating func slotComes(now: @autoclosure () -> Duration, _ effects: inout Effects<Waiter>) {
    countOpen()
    retract()
    inbox.leave()
    releaseFlushers(&effects)
    admitSenders(now: now(), &effects)
    limitHotPath()
  }

  /// Posts what is ready to the slot that attends to the inbox, if one does.
  ///
  /// Each critical section in which batches have become ready, or were retracted, ends with it; not earlier, as only then are the
  /// messages in their slots. Returns whether the slot had nothing to do, and is going to do all that is due.
  @discardableResult
  @inline(__always)
  mutating func post() -> Bool {
    inbox.isAttended && !inbox.isWanted ? postReady() : false
  }

  private mutating func postReady() -> Bool {
    var wasIdle = false
    while inbox.posted < ready.count {
      if !inbox.hasPlace { countInbox() }
      guard inbox.hasPlace else {
        _ = inbox.wantWhenIdle()
        return false
      }
      let index = inbox.posted
      let before = inbox.post(TakenBatch(ready[index], sequenceNumber: nextSequenceNumber + index, abort: nil))
      if before.isIdle { wasIdle = true }
      book(before)
    }
    // The open one goes on growing until the slot comes for it.
    let openIsDue = open?.due != nil
    if openIsDue, inbox.wantWhenIdle() { wasIdle = true }
    return wasIdle && ready.count + (openIsDue ? 1 : 0) == 1
  }

  /// Whether a slot has nothing to do but to wait for what is posted.
  var readerIsIdle: Bool { inbox.isAttended && inbox.actual.isIdle }

  /// Takes back what has not started, and books what has.
  ///
  /// Before anything is done with batches that are ready, or numbers are given.
  @inline(__always)
  mutating func retract(isWanted: Bool = false) {
    if inbox.isAttended { retractPosted(isWanted: isWanted) }
  }

  private mutating func retractPosted(isWanted: Bool) {
    book(inbox.retract(isWanted: isWanted))
  }

  /// Brings what the slot has done without the lock into the ledger.
  ///
  /// Every event begins with it that has to know all of the ledger.
  @inline(__always)
  mutating func countInbox() {
    if inbox.isAttended { book(inbox.actual) }
  }

  /// Who waits for what has ended is not told here but when the slot comes, which it has been asked to.
  private mutating func book(_ actual: InboxCounts) {
    while true {
      if inbox.booked.ended != inbox.booked.started {
        guard inbox.booked.ended != actual.ended, let batch = inbox.bookEnd() else { return }
        ledger.inFlight -= batch.range.count
        ledger.handled += batch.range.count
        ledger.held -= batch.range.count
        if batch.segment.isSmall(stride: layout.stride) { segmentEmptied(batch.segment) }
        _ = epochs.release(batch.epoch)
      } else {
        guard inbox.booked.started != actual.started, let batch = ready.popFirst() else { return }
        inbox.bookStart()
        started(batch)
      }
    }
  }
}
