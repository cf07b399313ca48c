/// The children of `run()` that take batches, `concurrency` of them.
struct Workers<Waiter> {
  /// Those with nothing to do; the last to park is the first to be woken, its caches are the warmest.
  var parked: [Waiter] = []
  /// Those that were woken and have not looked yet.
  var waking = 0
  /// Those that have not ended, and have not been told to leave.
  var running = 0
  /// How often the bell has been rung, or is about to be: with each batch that becomes due.
  ///
  /// A worker that finds nothing knows by it which stroke is the next.
  var strokes: UInt32 = 0
}

/// What a worker does next.
enum WorkerOrder {
  case take(TakenBatch)
  case park
  /// It is one too many.
  case leave
  case end
}

extension Machine {
  /// A worker has nothing to do, and looks for a batch.
  mutating func workerLooks(wasWoken: Bool) -> WorkerOrder {
    countOpen()
    if wasWoken { workers.waking -= 1 }
    if lookIsOneTooMany() { return .leave }
    if let batch = takeDue() {
      limitHotPath()
      return .take(batch)
    }
    return phase == .open ? .park : .end
  }

  /// A worker that found nothing brings its continuation; `false` when there is something by now.
  mutating func workerParks(_ waiter: Waiter) -> Bool {
    countInbox()
    guard phase == .open, ready.isEmpty, open?.due == nil, !hasTooManyWorkers else { return false }
    workers.parked.append(waiter)
    return true
  }

  /// Wakes as many parked workers as there are due batches that nobody is on the way to.
  mutating func wakeWorkers(_ effects: inout Effects<Waiter>) {
    // Only those who may be woken are worth a look at what the one does that works without the lock.
    let hasParked = !workers.parked.isEmpty
    if hasParked { countInbox() }
    let due = settings.isKeyed ? lanes.ready.count : ready.count + (open?.due != nil ? 1 : 0)
    if due > 0 {
      workers.strokes &+= 1
      effects.stroke = workers.strokes
    }
    let onTheWay = workers.waking + (hasParked && readerIsIdle ? 1 : 0)
    for _ in 0..<max(due - onTheWay, 0) {
      guard let waiter = workers.parked.popLast() else { return }
      workers.waking += 1
      effects.resume(waiter, .look)
    }
  }

  /// Wakes all parked workers: for each there is a batch, or its end.
  mutating func wakeAllWorkers(_ effects: inout Effects<Waiter>) {
    while let waiter = workers.parked.popLast() {
      workers.waking += 1
      effects.resume(waiter, .look)
    }
  }

  /// Whether the worker that looks is one too many, and so has to leave.
  ///
  /// It counts no longer from here on, or others that look before it has gone would think that they are too many.
  mutating func lookIsOneTooMany() -> Bool {
    guard hasTooManyWorkers else { return false }
    workers.running -= 1
    return true
  }

  /// A worker that was one too many has gone: it may have been woken for a batch.
  mutating func workerLeft(_ effects: inout Effects<Waiter>) {
    wakeWorkers(&effects)
  }

  /// A worker has come to its end; with the last one, the timer and the supervisor do.
  mutating func workerEnded(_ effects: inout Effects<Waiter>) {
    workers.running -= 1
    guard workers.running == 0 else { return }
    endTimer(&effects)
    supervisor.order(&effects)
  }
}
