import DequeModule

/// Messages that newer ones pushed out, on their way to the failure handler.
struct DropBox {
  var segment: Segment?
  /// Messages in the segment.
  var count = 0
  /// Whose they were, so that a flush waits for them; in runs.
  var epochs: [EpochRun] = []
  /// Messages that the failure handler has at the moment.
  var saving = 0
  /// Whether somebody is told to save them, or does.
  var isAttended = false

  struct EpochRun: Equatable {
    let epoch: Int
    var count: Int
  }
}

/// Pushed-out messages that are about to be given to the failure handler.
struct TakenDrops {
  let segment: Segment
  let count: Int
  let epochs: [DropBox.EpochRun]
  let sequenceNumber: Int

  /// Some of them.
  func part(_ offsets: [Int], number: Int) -> TakenDrops {
    let ofEach = epochs.flatMap { repeatElement($0.epoch, count: $0.count) }
    let runs = offsets.map { DropBox.EpochRun(epoch: ofEach[$0], count: 1) }
    return TakenDrops(segment: segment, count: offsets.count, epochs: runs, sequenceNumber: number)
  }
}

extension Machine {
  /// Pushes out as many of the oldest messages as a new one needs.
  ///
  /// `false`, and nothing has changed, when those whose batch has not started are too few, or when too many wait for
  /// the failure handler already.
  mutating func pushOut(toFit weight: Int, now: Duration, _ effects: inout Effects<Waiter>) -> Bool {
    guard let victims = victims(toFit: weight),
      victims <= settings.capacity - drops.count - drops.saving
    else { return false }
    for _ in 0..<victims { pushOutOldest(now: now, &effects) }
    dropsAreWaiting(&effects)
    return true
  }

  /// Somebody has to save what was pushed out.
  mutating func dropsAreWaiting(_ effects: inout Effects<Waiter>) {
    guard !drops.isAttended else { return }
    drops.isAttended = true
    supervisor.dropsAreWaiting = true
    supervisor.order(&effects)
  }

  /// How many of the oldest messages have to go; `nil` when all of them would not be enough.
  private func victims(toFit weight: Int) -> Int? {
    var count = 0
    var freed = 0
    var batch = 0
    while ledger.held - count >= settings.capacity || weight > settings.maximumHeldWeight - heldWeight + freed {
      // The `count` oldest are looked through batch by batch.
      var index = count
      batch = 0
      while batch < ready.count, index >= ready[batch].range.count {
        index -= ready[batch].range.count
        batch += 1
      }
      if batch < ready.count {
        freed += ready[batch].segment.tags?[ready[batch].range.lowerBound + index].weight ?? 0
      } else if let open, index < openCount {
        freed += open.segment.tags?[open.head + index].weight ?? 0
      } else {
        return nil
      }
      count += 1
    }
    return count
  }

  private mutating func pushOutOldest(now: Duration, _ effects: inout Effects<Waiter>) {
    let weight: Int
    if var batch = ready.first {
      weight = drop(batch.range.lowerBound, of: batch.segment, epoch: batch.epoch)
      batch.range = (batch.range.lowerBound + 1)..<batch.range.upperBound
      batch.weight -= weight
      firstLeft(batch, at: 0, &effects)
    } else if var batch = open {
      weight = drop(batch.head, of: batch.segment, epoch: batch.epoch)
      batch.head += 1
      batch.weight -= weight
      firstLeft(batch, now: now, &effects)
    } else {
      preconditionFailure("nothing to push out")
    }
    ledger.held -= 1
    ledger.dropped += 1
    heldWeight -= weight
  }

  /// The first message of the closed batch at `index` has left it.
  mutating func firstLeft(_ batch: ClosedBatch, at index: Int, _ effects: inout Effects<Waiter>) {
    var batch = batch
    if batch.range.isEmpty {
      ready.remove(at: index)
      pool.give(batch.segment)
      released(batch.epoch, &effects)
    } else {
      batch.began = batch.segment.tags?[batch.range.lowerBound].arrival ?? batch.began
      ready[index] = batch
    }
  }

  /// The first message of the open batch has left it.
  mutating func firstLeft(_ batch: OpenBatch, now: Duration, _ effects: inout Effects<Waiter>) {
    var batch = batch
    if batch.head == slots.count {
      forgetOpen()
      pool.give(batch.segment)
      released(batch.epoch, &effects)
      return
    }
    // The next message is the first now, and linger counts from its arrival.
    batch.began = batch.segment.tags?[batch.head].arrival ?? batch.began
    if batch.due == nil || batch.due == .linger {
      batch.deadline = batch.began + settings.linger
      batch.due = batch.deadline <= now ? .linger : nil
    }
    open = batch
    if batch.due == nil {
      arm(batch.deadline, &effects)
    } else {
      // The timer may not have fired yet, and will find nothing to do.
      wakeWorkers(&effects)
    }
  }

  /// Moves a message into the box; returns what it weighed.
  private mutating func drop(_ index: Int, of segment: Segment, epoch: Int) -> Int {
    drop(layout.slot(index, of: segment.base), epoch: epoch)
    return segment.tags?[index].weight ?? 0
  }

  /// Moves a message into the box.
  mutating func drop(_ slot: UnsafeMutableRawPointer, epoch: Int) {
    var box = drops.segment ?? Segment(atMost: 8, layout: layout, tagged: false)
    if drops.count == box.capacity { _ = box.makeRoom(0..<drops.count, layout: layout) }
    layout.move(layout.slot(drops.count, of: box.base), slot, 1)
    drops.segment = box
    drops.count += 1
    // It holds its epoch by itself from here on; its batch may end first.
    epochs.retain(epoch)
    if drops.epochs.last?.epoch == epoch {
      drops.epochs[drops.epochs.count - 1].count += 1
    } else {
      drops.epochs.append(DropBox.EpochRun(epoch: epoch, count: 1))
    }
  }

  /// Somebody is there to save drops; `nil` when there are none left, and it need not come again unasked.
  mutating func dropsTaken() -> TakenDrops? {
    guard let segment = drops.segment else {
      drops.isAttended = false
      return nil
    }
    let taken = TakenDrops(
      segment: segment, count: drops.count, epochs: drops.epochs, sequenceNumber: listMade())
    drops.segment = nil
    drops.saving += drops.count
    drops.count = 0
    drops.epochs = []
    return taken
  }

  /// The failure handler has returned for these drops.
  mutating func dropsSaved(_ taken: TakenDrops, _ effects: inout Effects<Waiter>) {
    drops.saving -= taken.count
    for run in taken.epochs { released(run.epoch, count: run.count, &effects) }
  }
}
