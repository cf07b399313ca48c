import DequeModule

@testable import Batching

extension World {
  /// What is not settled: a bit for each message.
  ///
  /// A batch is settled as a whole.
  var unsettled: Int {
    var bits = 0
    for batch in book.closed { for message in batch.messages { bits |= 1 << message } }
    for message in book.open { bits |= 1 << message }
    for message in book.dropped { bits |= 1 << message }
    for message in book.saving { bits |= 1 << message }
    for worker in workers { for message in worker.batch { bits |= 1 << message } }
    return bits
  }

  /// Wakes those whom the machine wants woken, if they are the right ones.
  func deliver() {
    var expected = book.told
    let ended = workers.reduce(0) { $0 | $1.ended }
    let unsettled = flushers.isEmpty ? 0 : unsettled | ended
    for index in flushers.indices where flushers[index].waitsFor != 0 {
      flushers[index].waitsFor &= unsettled
      if flushers[index].waitsFor == 0 { expected.append((Self.name(flusher: index), .settled)) }
    }
    if let first = effects.first { wake(first.waiter, first.wake, &expected) }
    for other in effects.others { wake(other.waiter, other.wake, &expected) }
    for (waiter, wake) in expected {
      tell("  \(words(waiter)) will be told \(wake)")
      if waiter >= Self.name(flusher: 0) {
        let index = waiter - Self.name(flusher: 0)
        expect(flushers[index].stage == .attaches, "\(words(waiter)) was not told \(wake)")
        flushers[index].early = wake
      } else {
        let index = waiter - Self.name(producer: 0)
        expect(producers[index].stage == .attaches, "\(words(waiter)) was not told \(wake)")
        producers[index].early = wake
      }
    }
  }

  private func wake(_ waiter: Int, _ wake: Wake, _ expected: inout [(waiter: Int, wake: Wake)]) {
    tell("  \(words(waiter)) is told \(wake)")
    if waiter < Self.timerName {
      expect(workers[waiter].stage == .parked && wake == .look, "\(words(waiter)) was woken and is not parked")
      workers[waiter].stage = .looks
      workers[waiter].wasWoken = true
    } else if waiter == Self.timerName {
      expect((timer.stage == .parked || timer.stage == .sleeps) && wake == .look, "the timer was woken twice")
      timer.stage = .looks
    } else if waiter == Self.supervisorName {
      expect(supervisor.stage == .parked && wake == .look, "the supervisor was woken twice")
      supervisor.stage = .looks
    } else {
      // A flush may hear of what has ended before the slot comes to say so.
      if waiter >= Self.name(flusher: 0), wake == .settled {
        let flusher = waiter - Self.name(flusher: 0)
        if flushers[flusher].waitsFor != 0, flushers[flusher].waitsFor & unsettled == 0 {
          flushers[flusher].waitsFor = 0
          expected.append((waiter, wake))
        }
      }
      guard let index = expected.firstIndex(where: { $0.waiter == waiter && $0.wake == wake }) else {
        return fail("\(words(waiter)) was told \(wake), which is not so")
      }
      expected.remove(at: index)
      if waiter >= Self.name(flusher: 0) {
        let index = waiter - Self.name(flusher: 0)
        expect(flushers[index].stage == .waits, "\(words(waiter)) was told and does not wait")
        flushers[index].stage = .done
      } else {
        let index = waiter - Self.name(producer: 0)
        expect(producers[index].stage == .waits, "\(words(waiter)) was told and does not wait")
        producerWoken(index, wake)
      }
    }
  }

  private func words(_ waiter: Int) -> String {
    switch waiter {
    case Self.timerName: "the timer"
    case Self.supervisorName: "the supervisor"
    case 30...: "flusher \(waiter - 30)"
    case 20...: "producer \(waiter - 20)"
    default: "worker \(waiter)"
    }
  }

  /// Compares the machine with the book, and looks whether a wake-up is missing.
  func check() {
    expect(machine.phase == book.phase, "the phase is \(machine.phase)")
    checkLedger()
    checkBatches()
    checkMemory()
    checkWaiting()
    checkWorkers()
    checkInbox()
    checkTimer()
    checkSupervisor()
  }

  private func checkLedger() {
    // What the hot path has accepted is counted at the next event.
    let uncounted = machine.open.map { machine.slots.count - $0.counted } ?? 0
    var ledger = machine.ledger
    // What a slot has done without the lock is booked later.
    let unbooked = machine.unbooked
    ledger.handled += unbooked.ended
    ledger.held -= unbooked.ended
    ledger.inFlight += unbooked.inFlight
    expect(ledger.accepted + uncounted == book.accepted, "accepted: \(ledger.accepted) + \(uncounted)")
    expect(ledger.held + uncounted == book.held, "held: \(ledger.held) + \(uncounted), expected \(book.held)")
    expect(ledger.handled == book.handled, "handled: \(ledger.handled), expected \(book.handled)")
    expect(ledger.failed == book.failed, "failed: \(ledger.failed), expected \(book.failed)")
    expect(ledger.dropped == book.droppedCount, "dropped: \(ledger.dropped), expected \(book.droppedCount)")
    expect(ledger.cancelled == book.cancelled, "cancelled: \(ledger.cancelled), expected \(book.cancelled)")
    expect(ledger.rejected == book.rejected, "rejected: \(ledger.rejected), expected \(book.rejected)")
    expect(ledger.inFlight == book.inFlight, "in flight: \(ledger.inFlight), expected \(book.inFlight)")
    expect(ledger.retries == book.retries, "retries: \(ledger.retries), expected \(book.retries)")
    expect(
      book.accepted == book.handled + book.failed + book.droppedCount + book.cancelled + book.held,
      "the ledger does not add up")
    expect(book.held <= max(book.settings.capacity, book.mostHeld), "more held than there is capacity")
    book.mostHeld = min(book.mostHeld, book.held)
    expect(book.dropped.count + book.saving.count <= book.settings.capacity, "too many pushed-out messages")
    if stage.isWeighted {
      expect(machine.heldWeight == book.heldWeight, "held weight: \(machine.heldWeight), expected \(book.heldWeight)")
      expect(book.heldWeight <= stage.settings.maximumHeldWeight, "more held than may weigh")
    }
    for kind in Trigger.Kind.allCases {
      let taken = machine.batchesTaken[Trigger(kind)] + (unbooked.batches.isEmpty ? 0 : unbooked.batches[kind.rawValue])
      expect(taken == book.batches[kind.rawValue], "batches by \(kind)")
    }
  }

  private func checkBatches() {
    let ready = machine.ready.dropFirst(machine.unbooked.starts)
    expect(ready.count == book.closed.count, "\(ready.count) closed batches")
    guard violation == nil else { return }
    for (index, expected) in book.closed.enumerated() {
      let batch = ready[ready.startIndex + index]
      expect(!expected.messages.isEmpty && expected.messages.count <= book.settings.batchSize, "a batch's size")
      expect(batch.trigger == expected.trigger, "a batch is due by \(batch.trigger), expected \(expected.trigger)")
      compare(batch.segment, batch.range, expected.messages)
      if book.settings.keepsArrivals {
        expect(batch.began == .seconds(expected.arrivals[0]), "a batch that began at \(batch.began)")
      }
      if stage.isWeighted { expect(batch.weight == stage.weight(expected.messages), "a batch's weight") }
    }
    guard let open = machine.open else { return expect(book.open.isEmpty, "there is no open batch") }
    compare(open.segment, open.head..<machine.slots.count, book.open)
    expect(open.due == book.openDue, "the open batch is due by \(open.due as Any), expected \(book.openDue as Any)")
    if open.due == nil, let first = book.arrivals.first {
      expect(open.deadline == .seconds(first + book.linger), "the open batch's deadline is \(open.deadline)")
    }
    if stage.isWeighted {
      expect(open.weight == stage.weight(book.open), "the open batch's weight")
      expect(open.weight <= stage.settings.maximumBatchWeight, "a batch that is too heavy")
    }
  }

  private func compare(_ segment: Segment, _ range: Range<Int>, _ messages: [Int]) {
    guard range.count == messages.count else {
      return fail("a batch has \(range.count) messages, expected \(messages)")
    }
    guard range.upperBound <= segment.capacity else { return fail("a batch beyond its memory") }
    let base = segment.base.assumingMemoryBound(to: Int.self)
    for offset in 0..<messages.count where base[range.lowerBound + offset] != messages[offset] {
      return fail("message \(base[range.lowerBound + offset]), expected \(messages)")
    }
    guard stage.settings.canBeWithdrawn, let tags = segment.tags else { return }
    for (offset, message) in messages.enumerated()
    where tags[range.lowerBound + offset].number != requestNumbers[message] {
      return fail("request \(message) is known by another number")
    }
  }

  private func checkMemory() {
    var bases = machine.bases
    for worker in workers { if let taken = worker.taken { bases.append(taken.segment.base) } }
    for index in bases.indices {
      for other in 0..<index where bases[other] == bases[index] { fail("two batches in the same memory") }
    }
    expect(machine.slots.base == machine.open?.segment.base, "the hot path's memory is not the open batch's")
    guard let open = machine.open, book.phase == .open, !stage.settings.isTagged, book.waiting.isEmpty else {
      return expect(machine.slots.limit == 0, "the hot path is open: \(machine.slots.limit)")
    }
    let limit = min(
      book.settings.batchSize - 1, open.segment.capacity,
      machine.slots.count + book.settings.capacity - book.held - machine.unbooked.ended)
    expect(machine.slots.limit == limit, "the hot path's limit is \(machine.slots.limit), expected \(limit)")
  }

  private func checkWaiting() {
    expect(machine.senders.count == book.waiting.count, "\(machine.senders.count) senders wait")
    expect(book.phase == .open || book.waiting.isEmpty, "senders wait after the end")
    if let first = book.waiting.first, !workers.contains(where: { $0.ended != 0 }) {
      expect(!book.hasRoom(book.weight(first.messages.lowerBound + first.admitted)), "a sender waits and there is room")
    }
    for (index, producer) in producers.enumerated() where producer.stage == .waits {
      expect(book.waiting.contains { $0.producer == index }, "producer \(index) waits for ever")
    }
    for (index, flusher) in flushers.enumerated() where flusher.stage == .waits {
      expect(flusher.waitsFor != 0, "flusher \(index) waits for ever")
    }
  }

  private func checkWorkers() {
    let due = book.closed.count + (book.openDue != nil ? 1 : 0)
    var parked = 0
    var waking = 0
    // One that leaves looks after what it was woken for.
    var leaving = 0
    for worker in workers {
      if worker.stage == .parked { parked += 1 }
      if worker.stage == .looks, worker.wasWoken { waking += 1 }
      if worker.stage == .leaves { leaving += 1 }
    }
    expect(machine.workers.parked.count == parked, "\(machine.workers.parked.count) parked workers")
    expect(machine.workers.waking == waking, "\(machine.workers.waking) workers on the way, expected \(waking)")
    expect(machine.workers.running == runningWorkers, "\(machine.workers.running) workers running")
    let idle = workers.contains { $0.stage == .waits || $0.stage == .comes } ? 1 : 0
    if parked > 0 {
      expect(waking + idle >= due || leaving > 0, "\(due) batches due, a worker is parked, and \(waking) on the way")
      expect(book.phase == .open, "a worker is parked after the end")
    }
  }

  /// Whoever attends to the inbox finds there what it has to do, or hears that it is wanted.
  private func checkInbox() {
    let reading = workers.filter { $0.reader != nil }
    expect(reading.count == (machine.inbox.isAttended ? 1 : 0), "\(reading.count) workers attend to the inbox")
    guard let worker = reading.first, violation == nil else { return }
    let counts = machine.inbox.actual
    let isWanted =
      !book.waiting.isEmpty || !machine.flushers.isEmpty || book.phase != .open || hasTooManyWorkers
    if isWanted { expect(counts.isWanted, "nobody told the worker that it is wanted") }
    expect(!counts.isWanted || counts.posted == counts.started, "a batch is posted to a worker that is wanted")
    expect((counts.started != counts.ended) == (worker.stage == .unpacks || worker.stage == .calls), "what has started")
    let isTold = counts.posted != counts.started || counts.isWanted || counts.isWantedWhenIdle
    if !book.closed.isEmpty || book.openDue != nil { expect(isTold, "a batch is due, and nobody told the worker") }
  }

  private func checkTimer() {
    switch machine.timer {
    case .absent:
      let isNeeded = book.deadline != nil && runHasBegun && workers.contains { $0.stage != .ended }
      expect(!isNeeded, "there is a deadline and no timer")
      expect(timer.stage != .parked && timer.stage != .sleeps, "the timer is there for ever")
    case .busy:
      expect(timer.stage == .looks || timer.stage == .parks || timer.stage == .attaches, "the timer was forgotten")
    case .parked:
      expect(timer.stage == .parked, "the timer is not parked")
      expect(book.deadline == nil, "there is a deadline and the timer is parked")
    case .asleep(let until, let waiter):
      expect(timer.stage == (waiter == nil ? .attaches : .sleeps), "the timer does not sleep")
      expect(timer.sleepsUntil == until.whole, "the timer sleeps until another time than the machine thinks")
      if let deadline = book.deadline { expect(until.whole <= deadline, "the timer sleeps past the deadline") }
    }
  }

  private func checkSupervisor() {
    expect((machine.supervisor.waiter != nil) == (supervisor.stage == .parked), "the supervisor's parking")
    if supervisor.stage == .parked {
      expect(
        !machine.supervisor.dropsAreWaiting && !machine.supervisor.handlersAreToBeCancelled
          && machine.supervisor.workersToStart == 0 && machine.workers.running > 0,
        "the supervisor was not told its orders")
    }
  }

  /// Nobody calls: all must have come to its end while `run()` works.
  func checkQuiet() {
    guard runHasBegun else { return }
    expect(unsettled == 0 && book.held == 0, "messages are held for ever")
    expect(book.waiting.isEmpty, "senders wait for ever")
    expect(flushers.allSatisfy { $0.stage != .waits }, "a flush waits for ever")
    if book.phase != .open { expect(runHasEnded, "run() does not return") }
  }

  /// Nothing can happen any more.
  func checkEnd() {
    expect(runHasEnded && book.phase == .done, "run() does not return")
    for (index, producer) in producers.enumerated() {
      expect(producer.call == stage.scripts[index].count, "producer \(index) is stuck")
    }
    expect(flushers.allSatisfy { $0.stage == .done }, "a flusher is stuck")
    expect(
      book.accepted == book.handled + book.failed + book.droppedCount + book.cancelled, "messages without a fate")
  }

  /// All that the future depends on.
  func digest() -> Digest {
    var digest = Digest()
    machine.digest(into: &digest, now: now)
    book.digest(into: &digest)
    // The slots of `run()` are alike, so it does not matter which is which.
    let slots = workers.indices.map(slot)
    if slots.count == 2, slots[1].first < slots[0].first {
      digest.add(slots[1])
      digest.add(slots[0])
    } else {
      for slot in slots { digest.add(slot) }
    }
    for producer in producers {
      digest.add(producer.call * 64 + producer.sent * 8 + producer.parcel)
      digest.add(stageNumber(producer))
      // A place in line counts as long as there may be a cancellation.
      digest.add(cancellationsLeft > 0 || producer.stage == .attaches ? (producer.place ?? -1) : -2)
      digest.add(number(producer.early))
      digest.add(producer.drops)
    }
    for flusher in flushers {
      digest.add(flusher.waitsFor)
      digest.add(flusher.mayStep ? (flusher.id == nil ? 0 : 1) : 2)
      digest.add(number(flusher.early))
      digest.add(cancellationsLeft > 0 || flusher.stage == .attaches ? (flusher.id ?? -1) : -2)
    }
    digest.add(timer.stage.rawValue)
    digest.add(timer.sleepsUntil.map { $0 - now } ?? 1000)
    digest.add(supervisor.stage.rawValue)
    digest.add(supervisor.drops)
    digest.add(savers.count)
    for saver in savers { digest.add(saver.drops) }
    var ends = 0
    for end in endsLeft { ends |= end == .shutdown ? 1 : 2 }
    digest.add(ends + (runHasBegun ? 4 : 0) + (runHasEnded ? 8 : 0))
    digest.add(ticksLeft)
    digest.add(faultsLeft * 8 + cancellationsLeft)
    digest.add(changesMade * 8 + workersToStart)
    // A number counts as long as there may be a cancellation.
    if cancellationsLeft > 0 { digest.add(requests) }
    return digest
  }

  private func slot(_ index: Int) -> Digest {
    let worker = workers[index]
    var digest = Digest()
    digest.add(worker.stage.rawValue)
    digest.add(worker.wasWoken ? 1 : 0)
    digest.add(worker.isFirst ? 1 : 0)
    digest.add(machine.workers.parked.firstIndex(of: index) ?? -1)
    digest.add(worker.batch)
    digest.add(worker.part.messages)
    digest.add(worker.part.isHalf ? 1 : 0)
    for part in worker.parts {
      digest.add(part.messages)
      digest.add(part.isHalf ? 1 : 0)
    }
    digest.add(worker.failure)
    digest.add(worker.inFlight)
    digest.add(worker.ended)
    digest.add((worker.reader == nil ? 0 : 1) + (worker.mayWait ? 2 : 0))
    digest.add(worker.end.map { "\($0)".count } ?? 0)
    digest.add(worker.batch.isEmpty ? -1 : worker.epoch - machine.epochs.firstUnsettled)
    digest.add(worker.abort == nil ? 0 : 1)
    if let taken = worker.taken {
      digest.add(taken.range.lowerBound)
      digest.add(taken.segment.capacity)
    }
    return digest
  }

  private func stageNumber(_ producer: Producer) -> Int {
    switch producer.stage {
    case .calls: 0
    case .offersAgain: 1
    case .attaches: 2
    case .waits: 3
    case .takesDrops: 4
    case .savedDrops: 5
    }
  }

  private func number(_ wake: Wake?) -> Int {
    switch wake {
    case nil: 0
    case .look: 1
    case .admitted: 2
    case .settled: 3
    case .closed(let admitted): 4 + 2 * admitted
    case .cancelled(let admitted): 5 + 2 * admitted
    }
  }
}

extension Digest {
  fileprivate mutating func add(_ rescue: Rescue?) {
    guard let rescue else { return add(-1) }
    add(rescue.messages)
  }
}
