@testable import Batching

extension KeyedWorld {
  var mayRunEnd: Bool {
    !runHasEnded && supervisor.stage == .ended && timer.stage == .ended && savers.isEmpty
      && workers.allSatisfy { $0.stage == .ended }
  }

  func runEnds() {
    tell("run() returns")
    machine.runEnded()
    book.phase = .done
    runHasEnded = true
    expect(unsettled == 0, "run() returned and something is not settled")
  }

  func shutDown() {
    tell("shutdown()")
    endsLeft.removeAll { $0 == .shutdown }
    let now = time
    machine.shutdownAsked(now: now, &effects)
    book.shutDown(isRunning: true)
  }

  func cancelRun() {
    tell("run() is cancelled")
    endsLeft.removeAll { $0 == .cancel }
    machine.abort(.runCancelled, &effects)
    book.abort(.runCancelled)
  }

  func reconfigure() {
    let change = scenario.changes[changesMade]
    tell("reconfigured: \(change)")
    changesMade += 1
    let tuning = Tuning(
      batchSize: change.batchSize, linger: .seconds(change.linger), concurrency: change.workers,
      capacity: change.capacity)
    let running = runningWorkers
    let now = time
    machine.reconfigured(tuning, capacity: change.capacity, now: now, &effects)
    book.reconfigure(change)
    if running > 0, !book.isAborted, running < change.workers { workersToStart += change.workers - running }
  }

  // MARK: The timer

  func timerSteps() {
    tell("timer: \(timer.stage)")
    switch timer.stage {
    case .looks:
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
    switch supervisor.stage {
    case .looks:
      switch machine.supervisorLooks() {
      case .act(.saveDrops): fail("nothing can be pushed out")
      case .act(.cancelHandlers): tell("  is to cancel the handlers")
      case .act(.startWorkers(let count)):
        expect(count == workersToStart, "\(count) workers to start, expected \(workersToStart)")
        workersToStart = 0
        for _ in 0..<count { startWorker() }
      case .park: supervisor.stage = .parks
      case .end:
        expect(runningWorkers == 0, "the supervisor ended too early")
        supervisor.stage = .ended
      }
    case .parks: supervisor.stage = machine.supervisorParks(Self.supervisorName) ? .parked : .looks
    default: fail("a supervisor that waits went on")
    }
  }

  private func startWorker() {
    if let place = workers.firstIndex(where: { $0.stage == .ended }) {
      workers[place] = KeyedWorker(stage: .looks)
    } else {
      workers.append(KeyedWorker(stage: .looks))
    }
  }
}
