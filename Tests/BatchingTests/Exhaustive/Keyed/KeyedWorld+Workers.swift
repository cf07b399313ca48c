@testable import Batching

/// One of the slots of `run()`, as `Core.takeLanes`.
struct KeyedWorker {
  enum Stage: Int {
    case looks, parks, parked, begins, calls, gives, endsAttempt, proceeds, leaves, ends, ended
  }

  var stage: Stage
  var wasWoken = false
  /// The memory that its batch lay in, until it is given back.
  var chain: Chain?
  var chainCount = 0
  var lane = 0
  var epoch = 0
  /// What the handler has, or gets next, and what comes after it.
  var part = Worker.Part(messages: [])
  var parts: [Worker.Part] = []
  /// What the machine counts as in a handler call.
  var inFlight = 0
  // What comes of the call.
  var handled = 0
  var failure: [Int] = []
  var backsOff = false
}

/// Messages that the failure handler has, outside of any slot.
struct FailureJob {
  var lane: Int
  var epoch: Int
  /// None left: they are saved, and the batch goes on.
  var messages: [Int]
  var parts: [Worker.Part]
  var backsOff: Bool
}

extension KeyedWorld {
  func addSteps(ofWorker index: Int, to events: inout [KeyedEvent]) {
    let worker = workers[index]
    switch worker.stage {
    case .parked, .ended: return
    case .calls:
      events.append(.worker(index, .handled))
      if book.isAborted { return events.append(.worker(index, .givenUp)) }
      guard faultsLeft > 0 else { return }
      let isHalf = worker.part.isHalf
      let isOne = worker.part.messages.count == 1
      for kind in scenario.faultKinds {
        switch kind {
        case .handled: break
        case .givenUp: events.append(.worker(index, kind))
        case .retried: if !isHalf { events.append(.worker(index, kind)) }
        case .halved, .partlyGivenUp: if !isOne { events.append(.worker(index, kind)) }
        case .partlyRetried: if !isOne, !isHalf { events.append(.worker(index, kind)) }
        }
      }
    default: events.append(.worker(index, nil))
    }
  }

  func workerSteps(_ index: Int, _ end: HandlerEnd?) {
    let worker = workers[index]
    tell("worker \(index): \(worker.stage)\(end.map { " → \($0)" } ?? "")")
    switch worker.stage {
    case .parked, .ended: fail("a worker that waits went on")
    case .looks: workerLooks(index)
    case .parks: workerParks(index)
    case .begins: attemptBegins(index)
    case .calls: handlerEnds(index, end ?? .handled)
    case .gives:
      giveBack(index)
      workers[index].stage = .endsAttempt
    case .endsAttempt: attemptEnds(index)
    case .proceeds:
      proceed(worker.lane, worker.epoch, worker.parts, backsOff: worker.backsOff)
      lookNext(index)
    case .leaves:
      machine.workerLeft(&effects)
      workers[index].stage = .ended
    case .ends:
      machine.workerEnded(&effects)
      workers[index].stage = .ended
    }
  }

  var runningWorkers: Int { workersToStart + workers.count { $0.stage != .leaves && $0.stage != .ended } }

  private var hasTooManyWorkers: Bool { !book.isAborted && runningWorkers > book.settings.concurrency }

  private func lookNext(_ index: Int) {
    workers[index] = KeyedWorker(stage: .looks)
  }

  private func workerLooks(_ index: Int) {
    let isOneTooMany = hasTooManyWorkers
    let order = machine.laneWorkerLooks(wasWoken: workers[index].wasWoken, &effects)
    workers[index].wasWoken = false
    if case .leave = order {
      expect(isOneTooMany, "a worker leaves, and is not one too many")
      workers[index].stage = .leaves
      return
    }
    expect(!isOneTooMany, "a worker that is one too many stays")
    let expected = book.take()
    switch order {
    case .take(let taken): take(index, taken, expected?.key, expected?.batch)
    case .resume(let lane, let object):
      guard let expected, expected.batch == nil, let unfinished = object as? Unfinished else {
        return fail("a worker goes on with a batch, and it is not its turn")
      }
      tell("  goes on with key \(expected.key)")
      expect(key(ofLane: lane) == expected.key, "a worker goes on with another key than \(expected.key)")
      expect(book.entries[expected.key].unfinished === unfinished, "a worker goes on with something else")
      book.entries[expected.key].unfinished = nil
      workers[index].lane = lane
      workers[index].epoch = unfinished.epoch
      workers[index].parts = unfinished.parts
      workers[index].part = workers[index].parts.removeLast()
      workers[index].stage = .begins
    case .park:
      expect(expected == nil, "a worker parks and a batch is due")
      workers[index].stage = .parks
    case .leave: break
    case .end:
      expect(expected == nil && book.held == 0, "a worker ends and there is something to do")
      expect(book.phase != .open, "a worker ends too early")
      workers[index].stage = .ends
    }
  }

  private func take(_ index: Int, _ taken: TakenLane, _ key: Int?, _ batch: KeyedBook.Closed?) {
    guard let key, let batch else { return fail("a worker took a batch that is not due") }
    tell("  takes \(batch.messages) of key \(key) (\(batch.trigger))")
    expect(self.key(ofLane: taken.lane) == key, "a worker took a batch of another key than \(key)")
    expect(taken.trigger == batch.trigger, "trigger \(taken.trigger), expected \(batch.trigger)")
    var messages: [Int] = []
    taken.forEachSlot { messages.append($0.assumingMemoryBound(to: WideMessage.self).pointee.number) }
    expect(messages.reversed() == batch.messages, "messages \(messages.reversed()), expected \(batch.messages)")
    expect((taken.abort != nil) == book.isAborted, "a batch for the handler after the end, or given up before")
    numbered(taken.sequenceNumber)
    workers[index].chain = taken.chain
    workers[index].chainCount = taken.count
    workers[index].lane = taken.lane
    workers[index].epoch = taken.epoch
    workers[index].part = Worker.Part(messages: batch.messages)
    if taken.abort == nil {
      workers[index].inFlight = taken.count
      workers[index].stage = .calls
    } else {
      workers[index].failure = batch.messages
      workers[index].stage = .gives
    }
  }

  private func numbered(_ number: Int) {
    expect(number > lastSequenceNumber, "the number \(number) came twice")
    lastSequenceNumber = number
  }

  private func workerParks(_ index: Int) {
    let mayPark = machine.laneWorkerParks(index)
    if mayPark {
      expect(book.line.isEmpty, "a worker parks and there is work")
      expect(book.phase == .open || machine.lanes.count > 0, "a worker parks after the end")
    }
    workers[index].stage = mayPark ? .parked : .looks
  }

  private func attemptBegins(_ index: Int) {
    let part = workers[index].part
    let abort = machine.attemptBegan(count: part.messages.count, isHalf: part.isHalf)
    expect((abort != nil) == book.isAborted, "an attempt began after the end, or was refused before")
    guard abort == nil else {
      workers[index].failure = part.messages
      workers[index].stage = .endsAttempt
      return
    }
    workers[index].inFlight = part.messages.count
    book.inFlight += part.messages.count
    book.retries += 1
    if part.isHalf { book.batches[Trigger.split.kind.rawValue] += 1 }
    workers[index].stage = .calls
  }

  /// What `Verdict` makes of the end of a handler call.
  private func handlerEnds(_ index: Int, _ end: HandlerEnd) {
    let part = workers[index].part
    let messages = part.messages
    if end != .handled, !book.isAborted { faultsLeft -= 1 }
    workers[index].stage = workers[index].chain == nil ? .endsAttempt : .gives
    switch end {
    case .handled:
      workers[index].handled = messages.count
      guard workers[index].chain != nil else { return }
      // The usual way of a batch, in one critical section.
      giveBack(index)
      attemptEnds(index)
      proceed(workers[index].lane, workers[index].epoch, [], backsOff: false)
      lookNext(index)
      workerLooks(index)
    case .givenUp: workers[index].failure = messages
    case .retried:
      workers[index].parts.append(part)
      workers[index].backsOff = true
    case .partlyGivenUp:
      numbered(machine.listMade())
      workers[index].handled = 1
      workers[index].failure = Array(messages.dropFirst())
    case .partlyRetried:
      numbered(machine.listMade())
      workers[index].handled = 1
      workers[index].parts.append(Worker.Part(messages: Array(messages.dropFirst())))
      workers[index].backsOff = true
    case .halved:
      let middle = messages.count / 2
      for half in [messages[middle...], messages[..<middle]] {
        numbered(machine.listMade())
        workers[index].parts.append(Worker.Part(messages: Array(half), isHalf: true))
      }
    }
  }

  private func giveBack(_ index: Int) {
    if let chain = workers[index].chain.take() { machine.lanes.nodes.give(chain) }
  }

  private func attemptEnds(_ index: Int) {
    let worker = workers[index]
    let now = time
    let key = key(ofLane: worker.lane)
    machine.laneAttemptEnded(
      worker.lane, count: worker.inFlight, handled: worker.handled, weight: 0, now: now, &effects)
    book.inFlight -= worker.inFlight
    book.handled += worker.handled
    book.left(key, worker.handled)
    guard !worker.failure.isEmpty else {
      workers[index].stage = .proceeds
      return
    }
    savers.append(
      FailureJob(
        lane: worker.lane, epoch: worker.epoch, messages: worker.failure, parts: worker.parts,
        backsOff: worker.backsOff))
    lookNext(index)
  }

  /// The failure handler returns, and then the batch goes on.
  func saverSteps(_ index: Int) {
    let job = savers[index]
    if job.messages.isEmpty {
      tell("saver: goes on")
      savers.remove(at: index)
      proceed(job.lane, job.epoch, job.parts, backsOff: job.backsOff)
      return
    }
    tell("saver: \(job.messages) are saved")
    let now = time
    let key = key(ofLane: job.lane)
    machine.laneFailuresSaved(job.lane, count: job.messages.count, weight: 0, now: now, &effects)
    book.failed += job.messages.count
    book.left(key, job.messages.count)
    savers[index].messages = []
  }

  /// Ends a batch, or puts aside what is left of it.
  private func proceed(_ lane: Int, _ epoch: Int, _ parts: [Worker.Part], backsOff: Bool) {
    let key = key(ofLane: lane)
    expect(book.entries[key].state == .busy, "two handler calls at once for key \(key)")
    if parts.isEmpty {
      machine.laneSettled(lane, epoch: epoch, &effects)
      return book.settled(key)
    }
    let unfinished = Unfinished(parts, epoch: epoch)
    let until = backsOff && scenario.backOff > 0 ? now + scenario.backOff : nil
    machine.laneYields(lane, unfinished, until: until.map { .seconds($0) }, &effects)
    book.yields(key, unfinished, until: until)
  }
}
