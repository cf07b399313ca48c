/// The body of `run()`, which starts what only it may start.
struct SupervisorState<Waiter> {
  var waiter: Waiter?
  /// Orders that it has not taken yet.
  var dropsAreWaiting = false
  var handlersAreToBeCancelled = false
  var workersToStart = 0

  /// Wakes it to look for its orders.
  mutating func order(_ effects: inout Effects<Waiter>) {
    guard let waiter else { return }
    self.waiter = nil
    effects.resume(waiter, .look)
  }
}

/// What the supervisor does next.
enum SupervisorStep: Equatable {
  case act(SupervisorOrder)
  case park
  case end
}

/// What only the body of `run()` can do.
enum SupervisorOrder: Equatable {
  case saveDrops
  case cancelHandlers
  case startWorkers(Int)
}

extension Machine {
  /// `run()` was called; `false` when it was before.
  mutating func runBegan(now: Duration) -> Bool {
    guard !hasRun else { return false }
    hasRun = true
    workers.running = settings.concurrency
    timer = .busy
    if phase == .draining { startDrainTimeout(now: now) }
    return true
  }

  /// No more messages are wanted; what is held is to be settled.
  mutating func shutdownAsked(now: Duration, _ effects: inout Effects<Waiter>) {
    guard phase == .open else { return }
    stopAccepting(.draining, &effects)
    if hasRun { startDrainTimeout(now: now) }
    if let drainDeadline { arm(drainDeadline, &effects) }
  }

  /// Handlers are to be cancelled and what has not started given up.
  mutating func abort(_ reason: AbortReason, _ effects: inout Effects<Waiter>) {
    switch phase {
    case .open, .draining: stopAccepting(.aborted(reason), &effects)
    case .aborted, .done: return
    }
    endBackOffs(&effects)
    endTimer(&effects)
    supervisor.handlersAreToBeCancelled = true
    supervisor.order(&effects)
  }

  private mutating func stopAccepting(_ phase: Phase, _ effects: inout Effects<Waiter>) {
    countOpen()
    retract(isWanted: true)
    close(.shutdown, &effects)
    self.phase = phase
    refuseSenders(&effects)
    limitHotPath()
    // All of them: those for whom there is no batch have come to their end.
    wakeAllWorkers(&effects)
  }

  private mutating func startDrainTimeout(now: Duration) {
    drainDeadline = settings.drainTimeout.map { now + $0 }
  }

  /// The supervisor looks for its orders.
  mutating func supervisorLooks() -> SupervisorStep {
    if supervisor.dropsAreWaiting {
      supervisor.dropsAreWaiting = false
      return .act(.saveDrops)
    }
    if supervisor.workersToStart > 0 {
      defer { supervisor.workersToStart = 0 }
      return .act(.startWorkers(supervisor.workersToStart))
    }
    if supervisor.handlersAreToBeCancelled {
      supervisor.handlersAreToBeCancelled = false
      return .act(.cancelHandlers)
    }
    return workers.running == 0 ? .end : .park
  }

  /// The supervisor found no order and brings its continuation; `false` when there is one by now.
  mutating func supervisorParks(_ waiter: Waiter) -> Bool {
    guard !supervisor.dropsAreWaiting, !supervisor.handlersAreToBeCancelled, supervisor.workersToStart == 0,
      workers.running > 0
    else { return false }
    supervisor.waiter = waiter
    return true
  }

  /// All children of `run()` have ended and the failure handler has returned from its last call.
  mutating func runEnded() {
    phase = .done
  }
}
