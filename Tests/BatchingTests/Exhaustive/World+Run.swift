@testable import Batching

/// The timer, and the child of its own in which it sleeps.
struct TimerTask {
  enum Stage: Int { case off, looks, parks, parked, attaches, sleeps, ended }

  var stage = Stage.off
  /// Until when the child sleeps, if it is there.
  var sleepsUntil: Int?

  var mayStep: Bool { stage == .looks || stage == .parks || stage == .attaches }
}

/// The body of `run()`.
struct SupervisorTask {
  enum Stage: Int { case off, looks, parks, parked, takesDrops, savedDrops, ended }

  var stage = Stage.off
  var drops: Rescue?

  var mayStep: Bool { stage != .off && stage != .parked && stage != .ended }
}

/// Pushed-out messages that somebody has taken to save them, or to let them go.
struct Rescue {
  var drops: TakenDrops
  var messages: [Int]
}

/// A job that gives pushed-out messages to the failure handler until there are none.
struct Saver {
  var drops: Rescue?
}

extension World {
  func runBegins() {
    tell("run()")
    isAsked = false
    let now = time
    expect(machine.runBegan(now: now), "run() was refused")
    expect(!machine.runBegan(now: now), "run() was not refused the second time")
    if book.phase == .draining { book.startDrainTimeout() }
    runHasBegun = true
    // One for each slot there is by now.
    workers = (0..<book.settings.concurrency).map { _ in Worker(stage: .looks) }
    timer.stage = .looks
    supervisor.stage = .looks
  }

  var mayRunEnd: Bool {
    runHasBegun && !runHasEnded && supervisor.stage == .ended && timer.stage == .ended && savers.isEmpty
      && workers.allSatisfy { $0.stage == .ended }
  }

  func runEnds() {
    tell("run() returns")
    isAsked = false
    machine.runEnded()
    book.phase = .done
    runHasEnded = true
    // A producer may be about to let go of what nobody wants.
    if scenario.savesDrops { expect(unsettled == 0, "run() returned and something is not settled") }
  }

  func shutDown() {
    tell("shutdown()")
    endsLeft.removeAll { $0 == .shutdown }
    let now = time
    machine.shutdownAsked(now: now, &effects)
    book.shutDown(isRunning: runHasBegun)
  }

  func reconfigure() {
    let change = scenario.changes[changesMade]
    tell("reconfigured: \(change)")
    changesMade += 1
    let tuning = Tuning(
      batchSize: change.batchSize, linger: .seconds(change.linger), concurrency: change.workers,
      capacity: change.capacity)
    let running = runningWorkers
    var mayStart = running > 0
    if case .aborted = book.phase { mayStart = false }
    let now = time
    machine.reconfigured(tuning, capacity: change.capacity, now: now, &effects)
    book.reconfigure(change)
    if mayStart, running < change.workers { workersToStart += change.workers - running }
  }

  func cancelRun() {
    tell("run() is cancelled")
    endsLeft.removeAll { $0 == .cancel }
    machine.abort(.runCancelled, &effects)
    book.abort(.runCancelled)
  }

  // MARK: The timer

  func timerSteps() {
    tell("timer: \(timer.stage)")
    isAsked = false
    switch timer.stage {
    case .looks:
      // A child of the last sleep that has not fired by now was cancelled in time.
      timer.sleepsUntil = nil
      switch machine.timerLooks() {
      case .sleep(let until):
        expect(book.deadline == until.whole, "the timer sleeps until \(until), and the deadline is another")
        timer.sleepsUntil = until.whole
        timer.stage = .attaches
      case .park: timer.stage = .parks
      case .end:
        expect(book.phase != .open, "the timer ended too early")
        timer.stage = .ended
      }
    case .parks: timer.stage = machine.timerParks(Self.timerName) ? .parked : .looks
    case .attaches: timer.stage = machine.timerSleeps(Self.timerName) ? .sleeps : .looks
    case .off, .parked, .sleeps, .ended: fail("a timer that waits went on")
    }
  }

  /// The child of the timer that sleeps: in time, or too late for anybody to want it.
  func sleepEnds() {
    tell("timer: its sleep ends")
    timer.sleepsUntil = nil
    let now = time
    machine.timerFired(now: now, &effects)
    book.timerFired()
  }

  // MARK: The supervisor

  func supervisorSteps() {
    tell("supervisor: \(supervisor.stage)")
    isAsked = supervisor.stage == .savedDrops
    switch supervisor.stage {
    case .looks:
      switch machine.supervisorLooks() {
      case .act(.saveDrops):
        tell("  is to save pushed-out messages")
        if scenario.savesDrops { savers.append(Saver()) } else { supervisor.stage = .takesDrops }
      case .act(.cancelHandlers): tell("  is to cancel the handlers")
      case .act(.startWorkers(let count)):
        tell("  is to start \(count) worker(s)")
        expect(count == workersToStart, "\(count) workers to start, expected \(workersToStart)")
        workersToStart = 0
        for _ in 0..<count { startWorker() }
      case .park: supervisor.stage = .parks
      case .end:
        expect(runningWorkers == 0, "the supervisor ended too early")
        supervisor.stage = .ended
      }
    case .parks: supervisor.stage = machine.supervisorParks(Self.supervisorName) ? .parked : .looks
    case .takesDrops:
      supervisor.drops = takeDrops()
      supervisor.stage = supervisor.drops == nil ? .looks : .savedDrops
    case .savedDrops:
      if let drops = supervisor.drops { saved(drops) }
      supervisor.drops = nil
      supervisor.stage = .takesDrops
    case .off, .parked, .ended: fail("a supervisor that waits went on")
    }
  }

  /// In the place of one that has ended, if there is one: who waits is known by its place.
  private func startWorker() {
    if let place = workers.firstIndex(where: { $0.stage == .ended }) {
      workers[place] = Worker(stage: .looks)
    } else {
      workers.append(Worker(stage: .looks))
    }
  }

  // MARK: Pushed-out messages

  func saverSteps(_ index: Int) {
    if let drops = savers[index].drops {
      tell("saver: has saved the pushed-out messages")
      savers[index].drops = nil
      saved(drops)
    } else if let drops = takeDrops() {
      tell("saver: takes the pushed-out messages")
      savers[index].drops = drops
    } else {
      tell("saver: finds no pushed-out messages")
      savers.remove(at: index)
    }
  }

  func takeDrops() -> Rescue? {
    guard let drops = machine.dropsTaken() else {
      expect(book.dropped.isEmpty, "pushed-out messages were not given to be saved")
      return nil
    }
    defer { drops.segment.free() }
    expect(!book.dropped.isEmpty && drops.count == book.dropped.count, "\(drops.count) pushed-out messages to be saved")
    guard violation == nil else { return nil }
    let base = drops.segment.base.assumingMemoryBound(to: Int.self)
    for (offset, message) in book.dropped.enumerated() {
      expect(base[offset] == message, "other messages to be saved than were pushed out")
    }
    numbered(drops.sequenceNumber)
    defer { book.dropped = [] }
    book.saving += book.dropped
    return Rescue(drops: drops, messages: book.dropped)
  }

  func saved(_ rescue: Rescue) {
    machine.dropsSaved(rescue.drops, &effects)
    book.saving.removeAll { rescue.messages.contains($0) }
  }
}
