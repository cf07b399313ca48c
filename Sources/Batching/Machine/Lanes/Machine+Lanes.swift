import DequeModule

/// A batch of one key's messages that a slot has taken.
struct TakenLane {
  let lane: Int
  let chain: Chain
  let layout: NodeLayout
  let count: Int
  /// What its messages weigh together.
  let weight: Int
  let trigger: Trigger
  let sequenceNumber: Int
  /// When the first of its messages was accepted.
  let began: Duration
  /// Given back by `laneSettled`.
  let epoch: Int
  /// Set when it is not for the handler any more but for the failure handler.
  let abort: AbortReason?
}

/// What a worker of a by-key aggregator does next.
enum LaneOrder {
  case take(TakenLane)
  /// Goes on with what is left of a batch of this lane.
  case resume(lane: Int, AnyObject)
  case park
  /// It is one too many.
  case leave
  case end
}

/// A lane, and which of those that have had its number.
struct LaneMark {
  let lane: Int
  let generation: Int
}

extension TakenLane {
  /// Where its messages lie, the newest first.
  func forEachSlot(_ body: (UnsafeMutableRawPointer) -> Void) {
    var node = chain.newest
    for place in (0..<count).reversed() {
      body(layout.slot(place, in: node))
      if place & layout.mask == 0, place > 0 { node = node.older }
    }
  }
}

// MARK: - Finding
// Mutating, because the shell gets here through a pointer: who only reads might be given a copy.

extension Machine {
  /// Changes whenever a lane is added.
  var laneAdditions: Int {
    mutating get { lanes.generations }
  }

  /// The next lane with this hash; `passed` is forgotten, and the search begins anew, when it is gone.
  mutating func findLane(_ hash: Int, after passed: inout LaneMark?) -> LaneMark? {
    if let mark = passed, !isCurrent(mark) { passed = nil }
    guard let lane = lanes.find(hash, after: passed?.lane) else { return nil }
    return LaneMark(lane: lane, generation: lanes[lane].generation)
  }

  mutating func isCurrent(_ mark: LaneMark) -> Bool { lanes.isCurrent(mark.lane, mark.generation) }

  mutating func withKey(of lane: Int, _ body: (AnyObject) -> Bool) -> Bool {
    guard let key = lanes[lane].key else { return false }
    return key._withUnsafeGuaranteedRef(body)
  }

  /// The key for a look at it outside the lock, to be released there.
  mutating func retainedKey(of lane: Int) -> Unmanaged<AnyObject> {
    guard let key = lanes[lane].key else { preconditionFailure("lane \(lane) is not in use") }
    return key.retain()
  }
}

// MARK: - Accepting

extension Machine {
  /// A sender has one message for a lane.
  mutating func offered(
    toLane lane: Int, weight: Int = 0, now: @autoclosure () -> Duration, _ effects: inout Effects<Waiter>
  ) -> Offer {
    guard phase == .open else { return .closed }
    guard weight <= settings.heaviestMessage else { return .tooHeavy }
    guard lanes.line.isEmpty, lanes[lane].blocked.isEmpty else { return .full }
    if !(hasRoom(weight) && hasShare(lane, weight)) {
      guard settings.dropsOldest, pushOut(forLane: lane, weight: weight, now: now(), &effects) else { return .full }
    }
    return .accepted(append(toLane: lane, weight: weight, now: now(), &effects), count: 1)
  }

  /// Whether a lane may hold another message.
  ///
  /// A batch's worth it may always hold; beyond that, fewer messages than there is room left. So one busy key holds at most
  /// half of the capacity, *n* of them an equal part each, 1/(*n* + 1), and there is room for the others. This is the dynamic
  /// threshold of A. K. Choudhury and E. L. Hahne (IEEE/ACM Transactions on Networking, 1998) for packets in a shared
  /// memory, with a factor of 1. Weight is shared in the same way.
  @inline(__always)  // or the whole machine is copied for the call
  func hasShare(_ lane: Int, _ weight: Int) -> Bool {
    hasShare(
      held: lanes[lane].held, heldWeight: lanes[lane].heldWeight, weight: weight,
      freeCount: settings.capacity - ledger.held,
      freeWeight: settings.maximumHeldWeight - heldWeight)
  }

  @inline(__always)
  func hasShare(held: Int, heldWeight: Int, weight: Int, freeCount: Int, freeWeight: Int) -> Bool {
    guard held < settings.batchSize || held < freeCount else { return false }
    guard settings.isWeighted, held > 0 else { return true }
    let batch = settings.maximumBatchWeight < .max ? settings.maximumBatchWeight : 0
    return weight <= max(batch, freeWeight) - heldWeight
  }

  /// Appends a message, for which there is room, to its lane.
  mutating func append(
    toLane lane: Int, weight: Int, now: @autoclosure () -> Duration, _ effects: inout Effects<Waiter>
  ) -> UnsafeMutableRawPointer {
    if weight > settings.maximumBatchWeight - lanes[lane].open.weight { closeLane(lane, .weight, &effects) }
    let layout = lanes.nodes.layout
    let place = lanes[lane].open.count
    let fresh = place & layout.mask == 0 ? lanes.nodes.take() : nil
    if settings.isTagged, let fresh { tag(fresh, lane, weight, arrival: settings.keepsArrivals ? now() : .zero) }
    lanes[lane].append(fresh, weight: weight)
    guard let node = lanes[lane].open.chain?.newest else { preconditionFailure("a batch without messages") }
    ledger.accepted += 1
    ledger.held += 1
    heldWeight += weight
    let count = place + 1
    if count == 1 {
      epochs.retain(epochs.current)
      lanes[lane].open.epoch = epochs.current
      lanes[lane].open.began = settings.keepsArrivals ? node.tag.arrival : now()
    }
    if count >= settings.batchSize {
      closeLane(lane, .size, &effects)
    } else if lanes[lane].open.weight >= settings.maximumBatchWeight {
      closeLane(lane, .weight, &effects)
    } else if count == 1 {
      if settings.linger == .zero {
        lanes[lane].open.due = .linger
        schedule(lane, &effects)
      } else {
        let deadline = lanes[lane].open.began + settings.linger
        lanes.lingers.set(lane, deadline)
        arm(deadline, &effects)
      }
    }
    return layout.slot(place, in: node)
  }

  private mutating func tag(_ node: Node, _ lane: Int, _ weight: Int, arrival: Duration) {
    node.tag = Node.Tag(weight: weight, arrival: arrival, lane: lane)
    guard settings.dropsOldest else { return }
    if lanes[lane].open.count > 0 { lanes[lane].open.chain?.newest.tagPointer.pointee.nextInBatch = node }
    enterAgeList(node)
  }
}

// MARK: - Batches

extension Machine {
  /// Closes a lane's open batch, which is due: for `trigger`, unless it was before.
  mutating func closeLane(_ lane: Int, _ trigger: Trigger, _ effects: inout Effects<Waiter>) {
    guard lanes[lane].open.count > 0 else { return }
    if lanes[lane].open.due == nil {
      lanes[lane].open.due = trigger
      lanes.lingers.remove(lane)
    }
    lanes[lane].close()
    schedule(lane, &effects)
  }

  /// Closes the open batches of all lanes.
  mutating func closeLanes(_ trigger: Trigger, _ effects: inout Effects<Waiter>) {
    for lane in lanes.numbers { closeLane(lane, trigger, &effects) }
  }

  /// Puts a lane that has something to do into the line for a slot, unless it is there or has one.
  mutating func schedule(_ lane: Int, _ effects: inout Effects<Waiter>) {
    guard lanes[lane].state == .idle, lanes[lane].hasWork else { return }
    lanes[lane].state = .queued
    lanes.ready.append(lane)
    wakeWorkers(&effects)
  }

  /// A deadline is over: open batches are due, and what backed off is tried again.
  mutating func lanesAreDue(_ now: Duration, _ effects: inout Effects<Waiter>) {
    while let lane = lanes.lingers.popDue(now) {
      lanes[lane].open.due = .linger
      schedule(lane, &effects)
    }
    while let lane = lanes.backOffs.popDue(now) { backOffEnded(lane, &effects) }
  }

  /// Nothing waits for its time any more.
  mutating func endBackOffs(_ effects: inout Effects<Waiter>) {
    while let lane = lanes.backOffs.pop() { backOffEnded(lane, &effects) }
  }

  private mutating func backOffEnded(_ lane: Int, _ effects: inout Effects<Waiter>) {
    lanes[lane].state = .idle
    schedule(lane, &effects)
  }

  /// A worker has nothing to do, and looks for a lane that has: the one that has waited longest.
  mutating func laneWorkerLooks(wasWoken: Bool, _ effects: inout Effects<Waiter>) -> LaneOrder {
    if wasWoken { workers.waking -= 1 }
    if lookIsOneTooMany() { return .leave }
    while let lane = lanes.ready.popFirst() {
      if let unfinished = lanes[lane].unfinished {
        lanes[lane].unfinished = nil
        lanes[lane].state = .busy
        return .resume(lane: lane, unfinished)
      }
      guard let batch = nextBatch(of: lane), let chain = batch.chain, let trigger = batch.due else {
        // What was due has been pushed out since.
        lanes[lane].state = .idle
        forgetIfIdle(lane, &effects)
        continue
      }
      lanes[lane].state = .busy
      if settings.dropsOldest {
        var node = chain.newest
        for index in 0..<batch.count {
          if index > 0 { node = node.older }
          leaveAgeList(node)
        }
      }
      let reason = abortReason
      if reason == nil {
        batchesTaken[trigger] += 1
        ledger.inFlight += batch.count
      }
      return .take(
        TakenLane(
          lane: lane, chain: chain, layout: lanes.nodes.layout, count: batch.count, weight: batch.weight,
          trigger: trigger, sequenceNumber: listMade(), began: batch.began, epoch: batch.epoch, abort: reason))
    }
    // A drain is over when nothing is held for any key: what backs off has no place in the line.
    return phase == .open || lanes.count > 0 ? .park : .end
  }

  /// A worker that found nothing brings its continuation; `false` when there is something by now.
  mutating func laneWorkerParks(_ waiter: Waiter) -> Bool {
    guard lanes.ready.isEmpty, phase == .open || lanes.count > 0, !hasTooManyWorkers else { return false }
    workers.parked.append(waiter)
    return true
  }

  private mutating func nextBatch(of lane: Int) -> LaneBatch? {
    if let batch = lanes[lane].popClosed() { return batch }
    guard lanes[lane].open.count > 0, lanes[lane].open.due != nil else { return nil }
    let batch = lanes[lane].open
    lanes[lane].open = LaneBatch()
    return batch
  }
}

// MARK: - Settling

extension Machine {
  /// The handler call of a lane has ended, with some of its messages handled.
  mutating func laneAttemptEnded(
    _ lane: Int, count: Int, handled: Int, weight: Int, now: @autoclosure () -> Duration,
    _ effects: inout Effects<Waiter>
  ) {
    lanes[lane].held -= handled
    lanes[lane].heldWeight -= weight
    attemptEnded(count: count, handled: handled, weight: weight, now: now(), &effects)
  }

  /// Messages of a lane have been given up, and the failure handler has returned.
  mutating func laneFailuresSaved(
    _ lane: Int, count: Int, weight: Int, now: @autoclosure () -> Duration, _ effects: inout Effects<Waiter>
  ) {
    lanes[lane].held -= count
    lanes[lane].heldWeight -= weight
    failuresSaved(count: count, weight: weight, now: now(), &effects)
  }

  /// Something is left of a lane's batch: it gives its slot away, and takes one again when its turn has come.
  mutating func laneYields(
    _ lane: Int, _ unfinished: AnyObject, until: Duration?, _ effects: inout Effects<Waiter>
  ) {
    lanes[lane].unfinished = unfinished
    lanes[lane].state = .idle
    if let until, abortReason == nil {
      lanes[lane].state = .backingOff
      lanes.backOffs.set(lane, until)
      arm(until, &effects)
    } else {
      schedule(lane, &effects)
    }
  }

  /// All messages of a lane's batch are settled.
  mutating func laneSettled(_ lane: Int, epoch: Int, _ effects: inout Effects<Waiter>) {
    released(epoch, &effects)
    lanes[lane].state = .idle
    schedule(lane, &effects)
    forgetIfIdle(lane, &effects)
  }

  /// Forgets a lane that holds nothing and that nobody wants.
  mutating func forgetIfIdle(_ lane: Int, _ effects: inout Effects<Waiter>) {
    guard lanes[lane].held == 0, lanes[lane].pins == 0, lanes[lane].state == .idle else { return }
    if let key = lanes.remove(lane) { effects.letGo(key) }
    // In a drain, the workers end with the last lane.
    if lanes.count == 0, phase != .open { wakeAllWorkers(&effects) }
  }
}
