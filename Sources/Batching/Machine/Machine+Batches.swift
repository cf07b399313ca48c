import DequeModule

/// A batch that a slot has taken.
struct TakenBatch {
  var segment: Segment
  var range: Range<Int>
  /// What its messages weigh together.
  let weight: Int
  let trigger: Trigger
  let sequenceNumber: Int
  /// When the first of its messages was accepted.
  let began: Duration
  /// Given back by `batchSettled`.
  let epoch: Int
  /// Set when it is not for the handler any more but for the failure handler.
  let abort: AbortReason?

  init(_ batch: ClosedBatch, sequenceNumber: Int, abort: AbortReason?) {
    segment = batch.segment
    range = batch.range
    weight = batch.weight
    trigger = batch.trigger
    self.sequenceNumber = sequenceNumber
    began = batch.began
    epoch = batch.epoch
    self.abort = abort
  }
}

extension Machine {
  /// Messages in the open batch.
  var openCount: Int { open.map { slots.count - $0.head } ?? 0 }

  /// Opens a batch.
  ///
  /// There must be none.
  mutating func begin(at now: Duration) {
    let used = pool.take()
    used?.claim(layout)
    let segment = used ?? Segment(atMost: settings.batchSize, layout: layout, tagged: settings.isTagged)
    epochs.retain(epochs.current)
    open = OpenBatch(segment: segment, epoch: epochs.current, began: now, deadline: now + settings.linger)
    slots.base = segment.base
    slots.count = 0
  }

  /// Takes up to `wanted` slots of the open batch, one at least, and counts them.
  mutating func fill(_ wanted: Int) -> (UnsafeMutableRawPointer, count: Int) {
    guard let base = slots.base, let capacity = open?.segment.capacity else { preconditionFailure("no batch is open") }
    guard slots.count < capacity else {
      enlargeOpen()
      return fill(wanted)
    }
    let count = min(wanted, capacity - slots.count)
    let slot = layout.slot(slots.count, of: base)
    slots.count += count
    open?.counted = slots.count
    ledger.accepted += count
    ledger.held += count
    return (slot, count)
  }

  /// The open batch's memory is full: makes room in it, or takes more.
  private mutating func enlargeOpen() {
    guard var open else { return }
    let shift = open.segment.makeRoom(open.head..<slots.count, layout: layout)
    open.head -= shift
    open.counted -= shift
    slots.count -= shift
    slots.base = open.segment.base
    self.open = open
  }

  /// The open batch has grown: closes it when it is full, sees to its deadline when it is not.
  mutating func filled(_ effects: inout Effects<Waiter>) {
    guard let head = open?.head, let weight = open?.weight, let deadline = open?.deadline else { return }
    if slots.count - head >= settings.batchSize {
      close(.size, &effects)
    } else if weight >= settings.maximumBatchWeight {
      close(.weight, &effects)
    } else if open?.due == nil {
      if settings.linger == .zero {
        openIsDue(&effects)
      } else {
        arm(deadline, &effects)
      }
    }
  }

  /// The open batch's first message is `linger` old.
  ///
  /// The batch goes on growing until a slot takes it.
  mutating func openIsDue(_ effects: inout Effects<Waiter>) {
    open?.due = .linger
    wakeWorkers(&effects)
  }

  /// Closes the open batch, which is due: for `trigger`, unless it was before.
  mutating func close(_ trigger: Trigger, _ effects: inout Effects<Waiter>) {
    if settings.isKeyed { return closeLanes(trigger, &effects) }
    guard let batch = sealOpen(trigger) else { return }
    ready.append(batch)
    wakeWorkers(&effects)
  }

  private mutating func sealOpen(_ trigger: Trigger) -> ClosedBatch? {
    guard let open else { return nil }
    let batch = ClosedBatch(
      segment: open.segment, range: open.head..<slots.count, weight: open.weight, epoch: open.epoch,
      trigger: open.due ?? trigger, began: open.began)
    forgetOpen()
    return batch
  }

  mutating func forgetOpen() {
    open = nil
    slots = OpenSlots()
  }

  /// The oldest batch that is due, if there is one.
  mutating func takeDue() -> TakenBatch? {
    retract()
    guard let batch = ready.popFirst() ?? (open?.due != nil ? sealOpen(.linger) : nil) else { return nil }
    let taken = TakenBatch(batch, sequenceNumber: nextSequenceNumber, abort: abortReason)
    if taken.abort == nil { started(batch) } else { nextSequenceNumber += 1 }
    return taken
  }

  /// A batch has left those that are ready, for the handler.
  mutating func started(_ batch: ClosedBatch) {
    nextSequenceNumber += 1
    batchesTaken[batch.trigger] += 1
    ledger.inFlight += batch.range.count
  }

  /// A list of messages that no handler call has had yet needs a number: a part of a batch.
  mutating func listMade() -> Int {
    retract()
    defer { nextSequenceNumber += 1 }
    return nextSequenceNumber
  }

  /// The messages of a taken batch have been moved out of its segment.
  mutating func segmentEmptied(_ segment: Segment) {
    pool.give(segment)
  }
}
