@testable import Batching

/// One of the slots of `run()`.
struct Worker {
  enum Stage: Int {
    case off, looks, parks, parked, waits, comes, unpacks, calls, endsAttempt, saves, begins, settles, leaves, ends,
      ended
  }

  struct Part {
    var messages: [Int]
    var isHalf = false
  }

  var stage = Stage.off
  var wasWoken = false
  var taken: TakenBatch?
  var epoch = 0
  var abort: AbortReason?
  /// The batch that it took, until that is settled.
  var batch: [Int] = []
  /// What the handler has, or gets next.
  var part = Part(messages: [])
  /// Parts that come after it, the next one last.
  var parts: [Part] = []
  var failure: [Int] = []
  /// Whether it is the first call for the batch, whose success takes one visit to the lock.
  var isFirst = true
  /// What the machine counts as in a handler call.
  var inFlight = 0

  /// Where it finds batches without the lock.
  var reader: InboxReader?
  /// What has ended without the lock since it was there: a bit for each message.
  var ended = 0
  /// Whether it waits at the inbox when it finds nothing.
  var mayWait = false
  /// How the handler call has ended, when it has left the inbox for that.
  var end: HandlerEnd?
}

extension World {
  func addSteps(ofWorker index: Int, to events: inout [Event]) {
    let worker = workers[index]
    switch worker.stage {
    case .off, .parked, .ended: return
    case .waits:
      let counts = machine.inbox.actual
      if counts.posted != counts.started || counts.isWanted || counts.isWantedWhenIdle {
        events.append(.worker(index, .handled))
      }
      // It has waited long enough.
      events.append(.worker(index, nil))
    case .looks, .parks, .comes, .unpacks, .endsAttempt, .saves, .begins, .settles, .leaves, .ends:
      events.append(.worker(index, nil))
    case .calls where worker.end != nil:
      if case .aborted = book.phase {
        events.append(.worker(index, .givenUp))
      } else {
        events.append(.worker(index, worker.end))
      }
    case .calls:
      events.append(.worker(index, .handled))
      if case .aborted = book.phase {
        events.append(.worker(index, .givenUp))
      } else if faultsLeft > 0 {
        for kind in scenario.faultKinds {
          switch kind {
          case .handled: break
          case .givenUp: events.append(.worker(index, kind))
          case .retried: if !worker.part.isHalf { events.append(.worker(index, kind)) }
          case .halved, .partlyGivenUp: if worker.part.messages.count > 1 { events.append(.worker(index, kind)) }
          case .partlyRetried:
            if worker.part.messages.count > 1, !worker.part.isHalf { events.append(.worker(index, kind)) }
          }
        }
      }
    }
  }

  func workerSteps(_ index: Int, _ end: HandlerEnd?) {
    let now = time
    let stage = workers[index].stage
    tell("worker \(index): \(stage)\(end.map { " → \($0)" } ?? "")")
    switch stage {
    case .off, .parked, .ended: fail("a worker that waits went on")
    case .looks: workerLooks(index)
    case .waits:
      isAsked = false
      if end == .handled, let order = workers[index].reader?.look() {
        follow(order, index)
      } else {
        workers[index].stage = .comes
        workers[index].mayWait = false
      }
    case .comes:
      leaveInbox(index)
      workerLooks(index)
    case .parks:
      isAsked = false
      if machine.workerParks(Self.name(worker: index)) {
        workers[index].stage = .parked
        expect(book.phase == .open && book.closed.isEmpty && book.openDue == nil, "a worker parks and there is work")
      } else {
        let hasWork = !book.closed.isEmpty || book.openDue != nil
        expect(book.phase != .open || hasWork || hasTooManyWorkers, "a worker does not park without work")
        workers[index].stage = .looks
        workers[index].wasWoken = false
      }
    case .unpacks:
      isAsked = false
      unpack(index)
    case .calls where workers[index].reader != nil && end == .handled && workers[index].isFirst: batchEnds(index)
    case .calls where workers[index].reader != nil:
      workers[index].end = end
      leaveInbox(index)
      if let taken = workers[index].taken { machine.segmentEmptied(taken.segment) }
      workers[index].taken = nil
    case .calls: handlerEnds(index, end ?? .handled)
    case .endsAttempt: attemptEnds(index, handled: [])
    case .saves:
      let failure = workers[index].failure
      machine.failuresSaved(count: failure.count, weight: self.stage.weight(failure), now: now, &effects)
      book.failed += failure.count
      book.left(failure)
      workers[index].failure = []
      nextPart(index)
    case .begins:
      isAsked = false
      let part = workers[index].part
      let abort = machine.attemptBegan(count: part.messages.count, isHalf: part.isHalf)
      if case .aborted(let reason) = book.phase {
        expect(abort == reason, "an attempt began after the end")
        giveUp(index)
      } else {
        expect(abort == nil, "an attempt was refused")
        workers[index].inFlight = part.messages.count
        book.inFlight += part.messages.count
        book.retries += 1
        if part.isHalf { book.batches[Trigger.split.kind.rawValue] += 1 }
        workers[index].stage = .calls
      }
    case .settles:
      settled(index)
      workers[index].stage = .looks
      workers[index].wasWoken = false
      workers[index].mayWait = true
    case .leaves:
      machine.workerLeft(&effects)
      workers[index].stage = .ended
    case .ends:
      machine.workerEnded(&effects)
      workers[index].stage = .ended
    }
  }

  /// Workers that count: they are there or about to be, and have not been told to leave.
  var runningWorkers: Int {
    workersToStart + workers.count { $0.stage != .off && $0.stage != .leaves && $0.stage != .ended }
  }

  var hasTooManyWorkers: Bool {
    if case .aborted = book.phase { return false }
    return runningWorkers > book.settings.concurrency
  }

  /// As the worker's loop: takes, parks, leaves or ends.
  private func workerLooks(_ index: Int) {
    let wasWoken = workers[index].wasWoken
    workers[index].wasWoken = false
    let isOneTooMany = hasTooManyWorkers
    let order = machine.workerLooks(wasWoken: wasWoken)
    if case .leave = order {
      expect(isOneTooMany, "a worker leaves, and is not one too many")
      workers[index].stage = .leaves
      return
    }
    expect(!isOneTooMany, "a worker that is one too many stays")
    let mayWait = workers[index].mayWait
    workers[index].mayWait = true
    switch order {
    case .take(let taken):
      take(taken, index)
      workers[index].reader = machine.slotAttends(with: taken)
    case .leave: break
    case .park:
      expect(book.take() == nil, "a worker parks and a batch is due")
      expect(book.phase == .open, "a worker parks after the end")
      if mayWait { workers[index].reader = machine.slotAttends(with: nil) }
      workers[index].stage = workers[index].reader == nil ? .parks : .waits
    case .end:
      expect(book.take() == nil, "a worker ends and a batch is due")
      expect(book.phase != .open, "a worker ends too early")
      workers[index].stage = .ends
    }
  }

  /// A worker has the batch that it has to get now.
  private func take(_ taken: TakenBatch, _ index: Int) {
    let expected = book.take()
    workers[index].taken = taken
    workers[index].stage = .unpacks
    workers[index].epoch = taken.epoch
    workers[index].abort = taken.abort
    guard let expected else { return fail("a worker took a batch that is not due") }
    tell("  takes \(expected.messages) (\(expected.trigger))")
    expect(taken.range.count == expected.messages.count, "a worker took \(taken.range.count) messages")
    expect(taken.trigger == expected.trigger, "trigger \(taken.trigger), expected \(expected.trigger)")
    if case .aborted(let reason) = book.phase {
      expect(taken.abort == reason, "a batch for the handler after the end")
    } else {
      expect(taken.abort == nil, "a batch is given up before the end")
    }
    numbered(taken.sequenceNumber)
    workers[index].batch = expected.messages
    workers[index].part = Worker.Part(messages: expected.messages)
    workers[index].isFirst = true
    workers[index].inFlight = taken.abort == nil ? expected.messages.count : 0
  }

  /// The batch has ended, and its worker goes on without the lock.
  private func batchEnds(_ index: Int) {
    isAsked = false
    let messages = workers[index].batch
    guard let order = workers[index].reader?.batchEnded() else { return fail("nothing to read") }
    book.inFlight -= messages.count
    book.handled += messages.count
    book.held -= messages.count
    for message in messages { workers[index].ended |= 1 << message }
    workers[index].taken = nil
    workers[index].batch = []
    workers[index].part = Worker.Part(messages: [])
    workers[index].inFlight = 0
    workers[index].epoch = 0
    follow(order, index)
  }

  private func follow(_ order: InboxReader.Order, _ index: Int) {
    switch order {
    case .start(let batch): take(batch, index)
    case .wait: workers[index].stage = .waits
    case .come: workers[index].stage = .comes
    }
  }

  /// A worker that attended to the inbox is at the lock.
  private func leaveInbox(_ index: Int) {
    let now = time
    machine.slotComes(now: now, &effects)
    book.admit()
    workers[index].reader = nil
    workers[index].ended = 0
  }

  /// Each list of messages has a number of its own.
  func numbered(_ number: Int) {
    expect(number > lastSequenceNumber, "the number \(number) came twice")
    lastSequenceNumber = number
  }

  private func unpack(_ index: Int) {
    guard let taken = workers[index].taken else { return fail("nothing to unpack") }
    let base = taken.segment.base.assumingMemoryBound(to: Int.self)
    for (offset, message) in workers[index].batch.enumerated() {
      expect(base[taken.range.lowerBound + offset] == message, "a batch has other messages than it should")
    }
    if workers[index].reader == nil {
      machine.segmentEmptied(taken.segment)
      workers[index].taken = nil
    }
    if workers[index].abort == nil {
      workers[index].stage = .calls
    } else {
      giveUp(index)
    }
  }

  private func giveUp(_ index: Int) {
    workers[index].failure = workers[index].part.messages
    workers[index].inFlight = 0
    workers[index].stage = .endsAttempt
  }

  /// What `Verdict` makes of the end of a handler call.
  private func handlerEnds(_ index: Int, _ end: HandlerEnd) {
    let part = workers[index].part
    workers[index].end = nil
    var isFault = true
    if case .aborted = book.phase { isFault = false }
    if isFault, end != .handled { faultsLeft -= 1 }
    switch end {
    case .handled:
      attemptEnds(index, handled: part.messages)
      if workers[index].isFirst {
        // The usual way of a batch, in one critical section.
        settled(index)
        workerLooks(index)
      }
      return
    case .givenUp:
      workers[index].failure = part.messages
      attemptEnds(index, handled: [])
    case .retried:
      workers[index].parts.append(part)
      attemptEnds(index, handled: [])
    case .partlyGivenUp:
      workers[index].failure = Array(part.messages.dropFirst())
      numbered(machine.listMade())
      attemptEnds(index, handled: [part.messages[0]])
    case .partlyRetried:
      numbered(machine.listMade())
      workers[index].parts.append(Worker.Part(messages: Array(part.messages.dropFirst())))
      attemptEnds(index, handled: [part.messages[0]])
    case .halved:
      let middle = part.messages.count / 2
      let halves = [Array(part.messages[..<middle]), Array(part.messages[middle...])]
      for half in halves.reversed() { workers[index].parts.append(Worker.Part(messages: half, isHalf: true)) }
      for _ in halves { numbered(machine.listMade()) }
      attemptEnds(index, handled: [])
    }
  }

  private func attemptEnds(_ index: Int, handled: [Int]) {
    let now = time
    let inFlight = workers[index].inFlight
    let isFirst = workers[index].isFirst && handled == workers[index].batch
    machine.attemptEnded(
      count: inFlight, handled: handled.count, weight: stage.weight(handled), now: now, &effects)
    book.inFlight -= inFlight
    book.handled += handled.count
    book.left(handled)
    workers[index].inFlight = 0
    workers[index].isFirst = isFirst
    workers[index].stage = .saves
    if workers[index].failure.isEmpty { nextPart(index) }
  }

  private func nextPart(_ index: Int) {
    if let next = workers[index].parts.popLast() {
      workers[index].part = next
      workers[index].stage = .begins
    } else {
      workers[index].part = Worker.Part(messages: [])
      workers[index].stage = .settles
    }
  }

  private func settled(_ index: Int) {
    machine.batchSettled(epoch: workers[index].epoch, &effects)
    workers[index].batch = []
    workers[index].isFirst = true
    workers[index].epoch = 0
    workers[index].abort = nil
  }
}
