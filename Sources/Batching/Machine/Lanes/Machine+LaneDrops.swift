extension Machine {
  /// Pushes out as many messages as a new one for a lane needs: the lane's oldest, where it lacks a share, then the oldest of
  /// all.
  ///
  /// `false`, and nothing has changed, when those whose batch has not started are too few, or when too many wait for
  /// the failure handler already.
  mutating func pushOut(
    forLane lane: Int, weight: Int, now: Duration, _ effects: inout Effects<Waiter>
  ) -> Bool {
    guard let victims = victims(forLane: lane, weight: weight),
      victims.count <= settings.capacity - drops.count - drops.saving
    else { return false }
    // The lane of the new message is kept whatever goes.
    lanes[lane].pins += 1
    for node in victims { pushOut(node, now: now, &effects) }
    lanes[lane].pins -= 1
    dropsAreWaiting(&effects)
    return true
  }

  /// Each is the first of its lane once those before it have gone; `nil` when all of them would not be enough.
  private func victims(forLane lane: Int, weight: Int) -> [Node]? {
    var victims: [Node] = []
    var own = Sum(held: lanes[lane].held, weight: lanes[lane].heldWeight)
    var all = Sum(held: ledger.held, weight: heldWeight)
    func lacksShare() -> Bool {
      !hasShare(
        held: own.held, heldWeight: own.weight, weight: weight, freeCount: settings.capacity - all.held,
        freeWeight: settings.maximumHeldWeight - all.weight)
    }
    func take(_ node: Node) {
      victims.append(node)
      let tag = node.tag
      all.remove(tag.weight)
      if tag.lane == lane { own.remove(tag.weight) }
    }
    var next = lanes.oldest
    while all.held >= settings.capacity || weight > settings.maximumHeldWeight - all.weight || lacksShare() {
      let wantsOwn = lacksShare()
      if wantsOwn { next = lanes.oldest }
      while let node = next, wantsOwn && node.tag.lane != lane || victims.contains(node) { next = node.tag.newer }
      guard let node = next else { return nil }
      take(node)
      next = wantsOwn ? lanes.oldest : node.tag.newer
    }
    return victims
  }

  private struct Sum {
    var held: Int
    var weight: Int

    mutating func remove(_ weight: Int) {
      held -= 1
      self.weight -= weight
    }
  }

  /// Pushes out a message that is the first of its lane.
  private mutating func pushOut(_ node: Node, now: Duration, _ effects: inout Effects<Waiter>) {
    let tag = node.tag
    let lane = tag.lane
    let isOpen = lanes[lane].closed.count == 0
    var batch = isOpen ? lanes[lane].open : lanes[lane].closed
    leaveAgeList(node)
    drop(lanes.nodes.layout.slot(0, in: node), epoch: batch.epoch)
    lanes.nodes.give(Chain(newest: node, oldest: node))
    batch.count -= 1
    batch.weight -= tag.weight
    lanes[lane].held -= 1
    lanes[lane].heldWeight -= tag.weight
    ledger.held -= 1
    ledger.dropped += 1
    heldWeight -= tag.weight
    if batch.count > 0, let next = tag.nextInBatch {
      batch.chain?.oldest = next
      batch.began = next.tag.arrival
    }
    if isOpen {
      pushedOut(ofOpen: batch, lane, now: now, &effects)
    } else if batch.count > 0 {
      lanes[lane].closed = batch
    } else {
      _ = lanes[lane].popClosed()
      released(batch.epoch, &effects)
    }
    forgetIfIdle(lane, &effects)
  }

  private mutating func pushedOut(
    ofOpen changed: LaneBatch, _ lane: Int, now: Duration, _ effects: inout Effects<Waiter>
  ) {
    var batch = changed
    lanes.lingers.remove(lane)
    guard batch.count > 0 else {
      lanes[lane].open = LaneBatch()
      released(batch.epoch, &effects)
      return
    }
    // The next message is the first now, and linger counts from its arrival.
    let deadline = batch.began + settings.linger
    batch.due = deadline <= now ? .linger : nil
    lanes[lane].open = batch
    if batch.due == nil {
      lanes.lingers.set(lane, deadline)
      arm(deadline, &effects)
    } else {
      schedule(lane, &effects)
    }
  }

  // MARK: The messages of all lanes by their age

  mutating func enterAgeList(_ node: Node) {
    node.tagPointer.pointee.older = lanes.newest
    if let newest = lanes.newest { newest.tagPointer.pointee.newer = node } else { lanes.oldest = node }
    lanes.newest = node
  }

  mutating func leaveAgeList(_ node: Node) {
    let tag = node.tag
    if let older = tag.older { older.tagPointer.pointee.newer = tag.newer } else { lanes.oldest = tag.newer }
    if let newer = tag.newer { newer.tagPointer.pointee.older = tag.older } else { lanes.newest = tag.older }
  }
}
