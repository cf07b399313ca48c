import DequeModule

@testable import Batching

/// A machine cannot be copied, but what it is made of can; only the raw memory has to be copied by hand.
extension Machine where Waiter == Int {
  func copy(_ segments: SegmentCopies) -> Machine<Int> {
    var copy = Machine<Int>(settings: settings, layout: layout)
    copy.slots = slots
    copy.phase = phase
    copy.hasRun = hasRun
    copy.ledger = ledger
    copy.heldWeight = heldWeight
    copy.open = open
    if let open {
      let segment = segments.copy(open.segment)
      copy.open?.segment = segment
      copy.slots.base = segment.base
    }
    copy.ready = ready
    for index in ready.indices { copy.ready[index].segment = segments.copy(ready[index].segment) }
    for segment in pool.segments { copy.pool.give(segment.copy(layout)) }
    copy.inbox = inbox.copy(segments)
    copy.batchesTaken = batchesTaken
    copy.nextSequenceNumber = nextSequenceNumber
    copy.lastNumber = lastNumber
    copy.senders = senders
    copy.drops = drops
    copy.drops.segment = drops.segment?.copy(layout)
    copy.epochs = epochs
    copy.flushers = flushers
    copy.workers = workers
    copy.timer = timer
    copy.supervisor = supervisor
    copy.drainDeadline = drainDeadline
    if settings.isKeyed {
      copy.lanes.deallocate()
      copy.lanes = lanes.copyWithoutNodes()
      for lane in lanes.numbers {
        copy.lanes[lane].open = lanes[lane].open.copy(into: &copy.lanes.nodes)
        copy.lanes[lane].closed = lanes[lane].closed.copy(into: &copy.lanes.nodes)
        for index in lanes[lane].others.indices {
          copy.lanes[lane].others[index] = lanes[lane].others[index].copy(into: &copy.lanes.nodes)
        }
      }
    }
    return copy
  }

  /// With what the slots have, of which some may still be among what is ready.
  mutating func freeAll(and others: [Segment] = []) {
    open?.segment.free()
    let segments = ready.map(\.segment) + inbox.ended.map(\.segment) + others
    var freed: Set<UnsafeMutableRawPointer> = []
    for segment in segments where freed.insert(segment.base).inserted { segment.free() }
    for lane in lanes.numbers { lanes[lane].key?.release() }
    free()
  }

  /// All memory that the machine has, to see that nothing lies in two places.
  var bases: [UnsafeMutableRawPointer] {
    var bases: [UnsafeMutableRawPointer] = []
    if let open { bases.append(open.segment.base) }
    for batch in ready.dropFirst(unbooked.starts) { bases.append(batch.segment.base) }
    for segment in pool.segments { bases.append(segment.base) }
    if let segment = drops.segment { bases.append(segment.base) }
    return bases
  }

  /// Adds all that the future depends on.
  ///
  /// Left out, because only differences count: the number of the first epoch, the IDs that have been given out, the time.
  /// Left out, because no decision is made upon it and it is compared with the world's own count after every event:
  /// the ledger, the batches by trigger, the sequence numbers, what lies in the slots.
  func digest(into digest: inout Digest, now: Int) {
    digest.add(phase.code)
    digest.add(hasRun ? 1 : 0)
    digest.add(slots.count)
    digest.add(slots.limit)
    let base = epochs.firstUnsettled
    if let open {
      digest.add(open.head)
      digest.add(slots.count - open.counted)
      digest.add(open.epoch - base)
      digest.add(open.deadline.whole - now)
      digest.add(open.due.map { $0.kind.rawValue } ?? -1)
      digest.add(open.segment.capacity)
    } else {
      digest.add(-1)
    }
    digest.add(ready.count)
    for batch in ready {
      digest.add(batch.range.lowerBound)
      digest.add(batch.range.upperBound)
      digest.add(batch.segment.capacity)
      digest.add(batch.epoch - base)
      digest.add(batch.trigger.kind.rawValue)
    }
    inbox.digest(into: &digest)
    digest.add(pool.segments.count)
    for segment in pool.segments { digest.add(segment.capacity) }
    digest.add(drops.count)
    digest.add(drops.saving)
    digest.add(drops.isAttended ? 1 : 0)
    digest.add(drops.segment?.capacity ?? -1)
    digest.add(drops.epochs.count)
    for run in drops.epochs {
      digest.add(run.epoch - base)
      digest.add(run.count)
    }
    for unsettled in epochs.closed { digest.add(unsettled) }
    digest.add(epochs.open)
    digest.add(-1)
    senders.digest(into: &digest) { $0.next }
    flushers.digest(into: &digest) { $0 - base }
    digest.add(workers.waking)
    digest.add(workers.running)
    switch timer {
    case .absent: digest.add(0)
    case .busy: digest.add(1)
    case .parked: digest.add(2)
    case .asleep(let until, let waiter):
      digest.add(waiter == nil ? 3 : 4)
      digest.add(until.whole - now)
    }
    digest.add(supervisor.waiter == nil ? 0 : 1)
    digest.add(supervisor.dropsAreWaiting ? 1 : 0)
    digest.add(supervisor.handlersAreToBeCancelled ? 1 : 0)
    digest.add(drainDeadline.map { $0.whole - now } ?? 1000)
  }
}

/// What the slot that attends to the inbox has done, and nobody has booked.
struct Unbooked {
  var starts = 0
  var ended = 0
  var inFlight = 0
  /// By trigger; empty where there are none.
  var batches: [Int] = []
}

extension Machine where Waiter == Int {
  var unbooked: Unbooked {
    var unbooked = Unbooked()
    guard inbox.isAttended, inbox.actual != inbox.booked else { return unbooked }
    unbooked.batches = [Int](repeating: 0, count: Trigger.Kind.allCases.count)
    var inbox = inbox
    let actual = inbox.actual
    while true {
      if inbox.booked.ended != inbox.booked.started {
        guard inbox.booked.ended != actual.ended, let batch = inbox.bookEnd() else { return unbooked }
        unbooked.ended += batch.range.count
        unbooked.inFlight -= batch.range.count
      } else {
        guard inbox.booked.started != actual.started else { return unbooked }
        inbox.bookStart()
        let batch = ready[unbooked.starts]
        unbooked.starts += 1
        unbooked.inFlight += batch.range.count
        unbooked.batches[batch.trigger.kind.rawValue] += 1
      }
    }
  }
}

extension Inbox {
  func copy(_ segments: SegmentCopies) -> Inbox {
    guard let memory else { return self }
    var copy = self
    let new = InboxMemory()
    new.set(memory.counts)
    if isAttended {
      for number in sequence(first: booked.ended, next: { $0 &+ 1 }).prefix(while: { $0 != booked.posted }) {
        var batch = memory[number]
        batch.segment = segments.copy(batch.segment)
        new[number] = batch
      }
    }
    copy.memory = new
    return copy
  }

  /// Batches that have ended, as far as that is not booked, of which it is booked that they have started.
  var ended: [TakenBatch] {
    guard isAttended, booked.ended != booked.started, actual.ended != booked.ended, let memory else { return [] }
    return [memory[booked.ended]]
  }

  func digest(into digest: inout Digest) {
    digest.add((isAttended ? 1 : 0) + (isWanted ? 2 : 0))
    guard isAttended else { return }
    let actual = actual
    digest.add(Int(actual.started &- booked.started))
    digest.add(Int(actual.ended &- booked.ended))
    digest.add(Int(actual.posted &- actual.started))
    digest.add(Int(actual.started &- actual.ended))
    digest.add((actual.isWanted ? 1 : 0) + (actual.isWantedWhenIdle ? 2 : 0))
  }
}

/// Copies of segments, one for each, however often it is asked for.
final class SegmentCopies {
  private let layout: MessageLayout
  /// Whether one can lie in two places: with a slot and in its inbox.
  private let areShared: Bool
  private var copies: [UnsafeMutableRawPointer: Segment] = [:]

  init(_ layout: MessageLayout, areShared: Bool = false) {
    self.layout = layout
    self.areShared = areShared
  }

  func copy(_ segment: Segment) -> Segment {
    guard areShared else { return segment.copy(layout) }
    if let copy = copies[segment.base] { return copy }
    let copy = segment.copy(layout)
    copies[segment.base] = copy
    return copy
  }
}

extension LaneBatch {
  func copy(into nodes: inout NodePool) -> LaneBatch {
    var copy = self
    copy.chain = count > 0 ? chain?.copy(count: count, into: &nodes) : nil
    return copy
  }
}

extension Chain {
  func copy(count: Int, into nodes: inout NodePool) -> Chain {
    let layout = nodes.layout
    var from = newest
    var to = nodes.take()
    let newest = to
    for left in stride(from: (count - 1) / (layout.mask + 1), through: 0, by: -1) {
      to.base.copyMemory(from: from.base, byteCount: layout.stride)
      guard left > 0 else { break }
      from = from.older
      to.older = nodes.take()
      to = to.older
    }
    return Chain(newest: newest, oldest: to)
  }
}

extension WaitQueue where Waiter == Int {
  func digest(into digest: inout Digest, _ number: (Payload) -> Int) {
    digest.add(entries.count)
    for entry in entries {
      digest.add(nextID - entry.id)
      digest.add(number(entry.payload))
      digest.add(entry.waiter ?? -1)
      digest.add(entry.hasLeft ? 1 : 0)
    }
    digest.add(early.count)
    for entry in early {
      digest.add(nextID - entry.id)
      switch entry.wake {
      case .look: digest.add(0)
      case .admitted: digest.add(1)
      case .settled: digest.add(2)
      case .closed(let admitted): digest.add(3 + 2 * admitted)
      case .cancelled(let admitted): digest.add(4 + 2 * admitted)
      }
    }
  }
}

extension Segment {
  func copy(_ layout: MessageLayout) -> Segment {
    let copy = Segment(atMost: capacity, layout: layout, tagged: tags != nil)
    copy.base.copyMemory(from: base, byteCount: capacity * layout.stride)
    if let from = tags, let to = copy.tags { to.update(from: from, count: capacity) }
    return copy
  }
}

extension Phase {
  var code: Int {
    switch self {
    case .open: 0
    case .draining: 1
    case .aborted(.runCancelled): 2
    case .aborted(.drainTimedOut): 3
    case .done: 4
    }
  }
}

extension Duration {
  /// The worlds' time is whole seconds.
  var whole: Int { Int(components.seconds) }
}

/// Two hashes of 64 bits side by side: that two states among millions share both does not happen.
struct Digest: Hashable {
  private(set) var first: UInt = 0x9E37_79B9_7F4A_7C15
  private(set) var second: UInt = 0xC2B2_AE3D_27D4_EB4F

  @inline(__always)
  mutating func add(_ number: Int) {
    add(bits: UInt(bitPattern: number))
  }

  @inline(__always)
  mutating func add(bits: UInt) {
    first = (first ^ bits) &* 0xFF51_AFD7_ED55_8CCD
    first ^= first &>> 32
    second = (second &+ bits &+ 0x1656_67B1) &* 0xC4CE_B9FE_1A85_EC53
    second ^= second &>> 29
  }

  mutating func add(_ other: Digest) {
    add(bits: other.first)
    add(bits: other.second)
  }

  func hash(into hasher: inout Hasher) {
    hasher.combine(first)
  }
}
