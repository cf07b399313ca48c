/// The one task that sleeps for deadlines.
enum TimerState<Waiter> {
  /// Not running, or at its end.
  case absent
  /// About to look at the machine. Becomes `parked` or `asleep`.
  case busy
  /// There is no deadline. Becomes `busy` with the first one.
  case parked(Waiter)
  /// Sleeps; the waiter, once it is there, is the one that can end the sleep. Becomes `busy` when it is over, or when an
  /// earlier deadline appears.
  case asleep(until: Duration, Waiter?)
}

/// What the timer does next.
enum TimerOrder: Equatable {
  case sleep(until: Duration)
  case park
  case end
}

extension Machine {
  /// The earliest deadline there is.
  var deadline: Duration? {
    if settings.isKeyed { return laneDeadline }
    return switch phase {
    case .open: open.flatMap { $0.due == nil && settings.linger > .zero ? $0.deadline : nil }
    case .draining: drainDeadline
    case .aborted, .done: nil
    }
  }

  private var laneDeadline: Duration? {
    switch phase {
    case .open, .draining:
      earlier(earlier(lanes.lingers.earliest, lanes.backOffs.earliest), drainDeadline)
    case .aborted, .done: nil
    }
  }

  private func earlier(_ one: Duration?, _ other: Duration?) -> Duration? {
    guard let one, let other else { return one ?? other }
    return min(one, other)
  }

  /// The timer looks for something to sleep for.
  mutating func timerLooks() -> TimerOrder {
    let isNeeded = phase == .open || (phase == .draining && workers.running > 0)
    guard isNeeded else {
      timer = .absent
      return .end
    }
    guard let deadline else {
      timer = .busy
      return .park
    }
    timer = .asleep(until: deadline, nil)
    return .sleep(until: deadline)
  }

  /// The timer found no deadline and brings its continuation; `false` when it has to look again.
  mutating func timerParks(_ waiter: Waiter) -> Bool {
    guard case .busy = timer, deadline == nil else { return false }
    timer = .parked(waiter)
    return true
  }

  /// The timer sleeps and brings the continuation that ends the sleep; `false` when it is over already.
  mutating func timerSleeps(_ waiter: Waiter) -> Bool {
    guard case .asleep(let deadline, nil) = timer else { return false }
    timer = .asleep(until: deadline, waiter)
    return true
  }

  /// The timer has slept.
  mutating func timerFired(now: Duration, _ effects: inout Effects<Waiter>) {
    wakeTimer(&effects)
    guard let deadline, deadline <= now else { return }
    if let drainDeadline, drainDeadline <= now {
      abort(.drainTimedOut, &effects)
    } else if settings.isKeyed {
      lanesAreDue(now, &effects)
    } else {
      countOpen()
      openIsDue(&effects)
    }
  }

  /// There is a deadline.
  ///
  /// Nothing happens when the timer is up by then anyway.
  mutating func arm(_ deadline: Duration, _ effects: inout Effects<Waiter>) {
    switch timer {
    case .parked: wakeTimer(&effects)
    case .asleep(let until, _) where deadline < until: wakeTimer(&effects)
    case .absent, .busy, .asleep: break
    }
  }

  /// The timer is needed no longer.
  mutating func endTimer(_ effects: inout Effects<Waiter>) {
    wakeTimer(&effects)
    timer = .absent
  }

  private mutating func wakeTimer(_ effects: inout Effects<Waiter>) {
    switch timer {
    case .parked(let waiter), .asleep(_, .some(let waiter)):
      effects.resume(waiter, .look)
      timer = .busy
    case .asleep(_, nil):
      timer = .busy
    case .absent, .busy:
      break
    }
  }
}
