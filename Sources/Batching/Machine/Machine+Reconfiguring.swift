import DequeModule

/// What can be changed while an aggregator runs.
struct Tuning: Sendable, Equatable {
  var batchSize: Int
  var linger: Duration
  var concurrency: Int
  /// As it was asked for: `nil` for the default.
  var capacity: Int?

  init(batchSize: Int, linger: Duration, concurrency: Int, capacity: Int?) {
    self.batchSize = batchSize
    self.linger = linger
    self.concurrency = concurrency
    self.capacity = capacity
  }

  init(_ configuration: AggregatorConfiguration) {
    batchSize = configuration.batchSize
    linger = configuration.linger
    concurrency = configuration.concurrency
    capacity = configuration.capacity
  }
}

extension Machine {
  /// Sizes and times have changed.
  ///
  /// What is larger than the new batch size is cut into batches of that size, an open batch that has become full by it is due,
  /// and so is one that is older than the new linger. `capacity` is the bound that is in force.
  mutating func reconfigured(_ tuning: Tuning, capacity: Int, now: Duration, _ effects: inout Effects<Waiter>) {
    countOpen()
    retract(isWanted: true)
    settings.batchSize = tuning.batchSize
    settings.linger = tuning.linger
    settings.concurrency = tuning.concurrency
    settings.capacity = capacity
    settings.configuredCapacity = tuning.capacity
    pool.limit = SegmentPool.limit(settings, layout)
    if settings.isKeyed {
      for lane in lanes.numbers { retuneLane(lane, now: now, &effects) }
    } else {
      retuneBatches(now: now, &effects)
    }
    retuneWorkers(&effects)
    admitSenders(now: now, &effects)
    limitHotPath()
  }

  private mutating func retuneBatches(now: Duration, _ effects: inout Effects<Waiter>) {
    if openCount >= settings.batchSize { close(.size, &effects) }
    if ready.contains(where: { $0.range.count > settings.batchSize }) {
      let batches = ready
      ready.removeAll(keepingCapacity: true)
      for batch in batches { cut(batch) }
      wakeWorkers(&effects)
    }
    guard let began = open?.began, open?.due == nil else { return }
    let deadline = began + settings.linger
    open?.deadline = deadline
    if deadline <= now {
      openIsDue(&effects)
    } else {
      arm(deadline, &effects)
    }
  }

  /// Appends a closed batch to those that are ready, in parts of the batch size.
  private mutating func cut(_ whole: ClosedBatch) {
    var rest = whole
    while rest.range.count > settings.batchSize {
      let range = rest.range.lowerBound..<rest.range.lowerBound + settings.batchSize
      // The parts after the first get memory of their own: each gives back a segment.
      let copy = rest.segment.movedOut(range, layout: layout)
      var part = rest
      part.segment = copy
      part.range = 0..<range.count
      part.weight = copy.weight(of: part.range)
      part.began = copy.tags?[0].arrival ?? rest.began
      ready.append(part)
      epochs.retain(whole.epoch)
      rest.range = range.upperBound..<rest.range.upperBound
      rest.weight -= part.weight
    }
    rest.began = rest.segment.tags?[rest.range.lowerBound].arrival ?? rest.began
    ready.append(rest)
  }

  /// As many workers as there are slots: new ones are started by the body of `run()`, and of those too many each ends when
  /// it looks.
  private mutating func retuneWorkers(_ effects: inout Effects<Waiter>) {
    guard workers.running > 0, abortReason == nil else { return }
    if workers.running < settings.concurrency {
      supervisor.workersToStart += settings.concurrency - workers.running
      workers.running = settings.concurrency
      supervisor.order(&effects)
    }
    var surplus = workers.running - settings.concurrency
    while surplus > 0, let waiter = workers.parked.popLast() {
      surplus -= 1
      workers.waking += 1
      effects.resume(waiter, .look)
    }
  }

  /// Whether a worker that looks is one too many.
  var hasTooManyWorkers: Bool { workers.running > settings.concurrency && abortReason == nil }
}

extension Segment {
  /// Moves messages into a segment of their own.
  fileprivate func movedOut(_ range: Range<Int>, layout: MessageLayout) -> Segment {
    let segment = Segment(capacity: range.count, layout: layout, tagged: tags != nil)
    layout.move(segment.base, layout.slot(range.lowerBound, of: base), range.count)
    if let tags, let target = segment.tags { target.moveInitialize(from: tags + range.lowerBound, count: range.count) }
    return segment
  }

  fileprivate func weight(of range: Range<Int>) -> Int {
    guard let tags else { return 0 }
    return range.reduce(0) { $0 + tags[$1].weight }
  }
}

// MARK: - By key

extension Machine {
  private mutating func retuneLane(_ lane: Int, now: Duration, _ effects: inout Effects<Waiter>) {
    guard lanes[lane].key != nil else { return }
    if lanes[lane].open.count >= settings.batchSize { closeLane(lane, .size, &effects) }
    if lanes[lane].closed.count > settings.batchSize
      || lanes[lane].others.contains(where: { $0.count > settings.batchSize })
    {
      var batches: [LaneBatch] = []
      while let batch = lanes[lane].popClosed() { batches.append(batch) }
      for part in batches.flatMap({ cut($0) }) { lanes[lane].append(closed: part) }
    }
    guard lanes[lane].open.count > 0, lanes[lane].open.due == nil else { return }
    let deadline = lanes[lane].open.began + settings.linger
    if deadline <= now {
      lanes.lingers.remove(lane)
      lanes[lane].open.due = .linger
      schedule(lane, &effects)
    } else {
      lanes.lingers.set(lane, deadline)
      arm(deadline, &effects)
    }
  }

  /// A closed batch in parts of the batch size.
  private mutating func cut(_ whole: LaneBatch) -> [LaneBatch] {
    guard whole.count > settings.batchSize, let chain = whole.chain else { return [whole] }
    let layout = lanes.nodes.layout
    var slots: [(slot: UnsafeMutableRawPointer, node: Node)] = []
    var node = chain.newest
    for place in (0..<whole.count).reversed() {
      slots.append((layout.slot(place, in: node), node))
      if place & layout.mask == 0, place > 0 { node = node.older }
    }
    slots.reverse()
    var parts: [LaneBatch] = []
    for start in stride(from: 0, to: whole.count, by: settings.batchSize) {
      let places = start..<min(start + settings.batchSize, whole.count)
      if start > 0 { epochs.retain(whole.epoch) }
      var part = whole
      part.count = places.count
      if settings.isTagged {
        // A node for each message: they stay where they are.
        part.chain = Chain(newest: slots[places.upperBound - 1].node, oldest: slots[start].node)
        part.weight = places.reduce(0) { $0 + slots[$1].node.tag.weight }
        if settings.keepsArrivals { part.began = slots[start].node.tag.arrival }
      } else {
        part.chain = movedToNodes(slots[places].map(\.slot))
      }
      parts.append(part)
    }
    if !settings.isTagged { lanes.nodes.give(chain) }
    return parts
  }

  private mutating func movedToNodes(_ slots: [UnsafeMutableRawPointer]) -> Chain {
    let nodeLayout = lanes.nodes.layout
    let first = lanes.nodes.take()
    var chain = Chain(newest: first, oldest: first)
    for (place, slot) in slots.enumerated() {
      if place > 0, place & nodeLayout.mask == 0 {
        let node = lanes.nodes.take()
        node.older = chain.newest
        chain.newest = node
      }
      layout.move(nodeLayout.slot(place, in: chain.newest), slot, 1)
    }
    return chain
  }
}
