import DequeModule

@testable import Batching

extension KeyedWorld {
  /// What is not settled: a bit for each message; a batch is settled as a whole.
  var unsettled: Int {
    var bits = 0
    for entry in book.entries {
      for batch in entry.closed { for message in batch.messages { bits |= 1 << message } }
      for message in entry.open { bits |= 1 << message }
      for message in entry.underWay { bits |= 1 << message }
    }
    return bits
  }

  /// Wakes those whom the machine wants woken, if they are the right ones.
  func deliver() {
    var expected = book.told
    for index in flushers.indices where flushers[index].waitsFor != 0 {
      flushers[index].waitsFor &= unsettled
      if flushers[index].waitsFor == 0 { expected.append((Self.name(flusher: index), .settled)) }
    }
    if let first = effects.first { wake(first.waiter, first.wake, &expected) }
    for other in effects.others { wake(other.waiter, other.wake, &expected) }
    for (waiter, wake) in expected {
      if waiter >= Self.name(flusher: 0) {
        let index = waiter - Self.name(flusher: 0)
        expect(flushers[index].stage == .attaches, "flusher \(index) was not told \(wake)")
        flushers[index].early = wake
      } else {
        let index = waiter - Self.name(producer: 0)
        expect(producers[index].stage == .attaches, "producer \(index) was not told \(wake)")
        producers[index].early = wake
      }
    }
  }

  private func wake(_ waiter: Int, _ wake: Wake, _ expected: inout [(waiter: Int, wake: Wake)]) {
    tell("  \(waiter) is told \(wake)")
    if waiter < Self.timerName {
      expect(workers[waiter].stage == .parked && wake == .look, "worker \(waiter) was woken and is not parked")
      workers[waiter].stage = .looks
      workers[waiter].wasWoken = true
    } else if waiter == Self.timerName {
      expect((timer.stage == .parked || timer.stage == .sleeps) && wake == .look, "the timer was woken twice")
      timer.stage = .looks
    } else if waiter == Self.supervisorName {
      expect(supervisor.stage == .parked && wake == .look, "the supervisor was woken twice")
      supervisor.stage = .looks
    } else {
      guard let index = expected.firstIndex(where: { $0.waiter == waiter && $0.wake == wake }) else {
        return fail("\(waiter) was told \(wake), which is not so")
      }
      expected.remove(at: index)
      if waiter >= Self.name(flusher: 0) {
        flushers[waiter - Self.name(flusher: 0)].stage = .done
      } else {
        let index = waiter - Self.name(producer: 0)
        expect(producers[index].stage == .waits, "producer \(index) was told and does not wait")
        producerWoken(index, wake)
      }
    }
  }

  /// Compares the machine with the book, and looks whether a wake-up is missing.
  func check() {
    expect(machine.phase == book.phase, "the phase is \(machine.phase)")
    checkLedger()
    checkLanes()
    checkWaiting()
    checkWorkers()
    checkTimer()
    expect((machine.supervisor.waiter != nil) == (supervisor.stage == .parked), "the supervisor's parking")
    if supervisor.stage == .parked {
      expect(
        !machine.supervisor.handlersAreToBeCancelled && workersToStart == 0 && machine.workers.running > 0,
        "the supervisor was not told its orders")
    }
  }

  private func checkLedger() {
    let ledger = machine.ledger
    expect(ledger.accepted == book.accepted, "accepted: \(ledger.accepted), expected \(book.accepted)")
    expect(ledger.held == book.held, "held: \(ledger.held), expected \(book.held)")
    expect(ledger.handled == book.handled, "handled: \(ledger.handled), expected \(book.handled)")
    expect(ledger.failed == book.failed, "failed: \(ledger.failed), expected \(book.failed)")
    expect(ledger.dropped == 0 && ledger.cancelled == 0, "something was pushed out or taken back")
    expect(ledger.rejected == book.rejected, "rejected: \(ledger.rejected), expected \(book.rejected)")
    expect(ledger.inFlight == book.inFlight, "in flight: \(ledger.inFlight), expected \(book.inFlight)")
    expect(ledger.retries == book.retries, "retries: \(ledger.retries), expected \(book.retries)")
    expect(book.accepted == book.handled + book.failed + book.held, "the ledger does not add up")
    expect(book.held <= max(book.settings.capacity, book.mostHeld), "more held than there is capacity")
    book.mostHeld = min(book.mostHeld, book.held)
    for kind in Trigger.Kind.allCases {
      expect(machine.batchesTaken[Trigger(kind)] == book.batches[kind.rawValue], "batches by \(kind)")
    }
  }

  /// Each key with something held, under way or about to be sent has a lane, and no other.
  private func checkLanes() {
    expect(machine.lanes.ready.map(key) == book.line, "in line are \(machine.lanes.ready.map(key)), not \(book.line)")
    var pins = book.entries.map { _ in 0 }
    for (index, producer) in producers.enumerated() where !producer.lanes.isEmpty {
      let first = stage.scripts[index][producer.call].lowerBound + producer.sent
      let admitted = book.waiting.first { $0.producer == index }?.admitted ?? 0
      // One that was told, and does not know yet, waits for nothing.
      if producer.early != nil { continue }
      for offset in producer.lanes.indices.dropFirst(admitted) { pins[stage.keys[first + offset]] += 1 }
    }
    var found: Set<Int> = []
    for lane in machine.lanes.numbers where machine.lanes[lane].key != nil {
      let key = key(ofLane: lane)
      let lane = machine.lanes[lane]
      let entry = book.entries[key]
      expect(found.insert(key).inserted, "two lanes for key \(key)")
      expect(lane.held == entry.held, "key \(key) holds \(lane.held), expected \(entry.held)")
      expect(lane.pins == pins[key], "key \(key) is pinned \(lane.pins) times, expected \(pins[key])")
      expect(lane.open.count == entry.open.count, "the open batch of key \(key) has \(lane.open.count)")
      expect(lane.open.count == 0 || lane.open.due == entry.due, "the open batch of key \(key) is due, or is not")
      let closed = (lane.closed.count > 0 ? [lane.closed] : []) + lane.others
      expect(closed.map(\.count) == entry.closed.map(\.messages.count), "closed of key \(key): \(closed.map(\.count))")
      expect(closed.map(\.due) == entry.closed.map { $0.trigger }, "closed batches of key \(key) are due otherwise")
      expect(closed.allSatisfy { $0.count <= book.settings.batchSize }, "a batch that is too large")
      expect(lane.unfinished === entry.unfinished, "another thing is put aside of key \(key)")
      switch (lane.state, entry.state) {
      case (.idle, .idle), (.queued, .queued), (.busy, .busy), (.backingOff, .backingOff): break
      default: fail("key \(key) is \(lane.state), expected \(entry.state)")
      }
    }
    for (key, entry) in book.entries.enumerated() {
      let isWanted = entry.held > 0 || pins[key] > 0 || entry.state != .idle
      expect(found.contains(key) == isWanted, isWanted ? "key \(key) was forgotten" : "idle key \(key) stays")
      expect(entry.state != .idle || !entry.hasWork, "key \(key) is due and not in line")
    }
  }

  private func checkWaiting() {
    expect(machine.senders.count == book.waiting.count, "\(machine.senders.count) senders wait")
    expect(book.nextSender == nil, "a sender waits and could go")
    expect(book.phase == .open || book.waiting.isEmpty, "senders wait after the end")
    for (index, producer) in producers.enumerated() where producer.stage == .waits {
      expect(book.waiting.contains { $0.producer == index }, "producer \(index) waits for ever")
    }
    for (index, flusher) in flushers.enumerated() where flusher.stage == .waits {
      expect(flusher.waitsFor != 0, "flusher \(index) waits for ever")
    }
  }

  private func checkWorkers() {
    let parked = workers.count { $0.stage == .parked }
    let waking = workers.count { $0.stage == .looks && $0.wasWoken }
    expect(machine.workers.parked.count == parked, "\(machine.workers.parked.count) parked workers")
    expect(machine.workers.waking == waking, "\(machine.workers.waking) workers on the way, expected \(waking)")
    expect(machine.workers.running == runningWorkers, "\(machine.workers.running) workers running")
    guard parked > 0 else { return }
    let isSeenTo = waking >= book.line.count || workers.contains { $0.stage == .leaves }
    expect(isSeenTo, "\(book.line.count) batches due, a worker is parked, and \(waking) on the way")
    expect(book.phase == .open || machine.lanes.count > 0, "a worker is parked after the end")
  }

  private func checkTimer() {
    switch machine.timer {
    case .absent:
      expect(book.deadline == nil || runningWorkers == 0, "there is a deadline and no timer")
      expect(timer.stage != .parked && timer.stage != .sleeps, "the timer is there for ever")
    case .busy:
      expect(timer.stage == .looks || timer.stage == .parks || timer.stage == .attaches, "the timer was forgotten")
    case .parked:
      expect(timer.stage == .parked, "the timer is not parked")
      expect(book.deadline == nil, "there is a deadline and the timer is parked")
    case .asleep(let until, let waiter):
      expect(timer.stage == (waiter == nil ? .attaches : .sleeps), "the timer does not sleep")
      if let deadline = book.deadline { expect(until.whole <= deadline, "the timer sleeps past the deadline") }
    }
  }

  func checkQuiet() {
    expect(unsettled == 0 && book.held == 0, "messages are held for ever")
    expect(book.waiting.isEmpty, "senders wait for ever")
    expect(flushers.allSatisfy { $0.stage != .waits }, "a flush waits for ever")
    if book.phase != .open { expect(runHasEnded, "run() does not return") }
  }

  func checkEnd() {
    expect(runHasEnded && book.phase == .done, "run() does not return")
    for (index, producer) in producers.enumerated() {
      expect(producer.call == stage.scripts[index].count, "producer \(index) is stuck")
    }
    expect(flushers.allSatisfy { $0.stage == .done }, "a flusher is stuck")
    expect(book.accepted == book.handled + book.failed, "messages without a fate")
    expect(machine.lanes.count == 0, "\(machine.lanes.count) lanes are left")
  }
}
