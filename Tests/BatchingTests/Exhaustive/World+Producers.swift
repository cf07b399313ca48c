@testable import Batching

/// A task that sends.
struct Producer {
  enum Stage { case calls, offersAgain, attaches, waits, takesDrops, savedDrops }

  var stage = Stage.calls
  /// The call that it is in, or makes next.
  var call = 0
  /// Messages of this call that were accepted.
  var sent = 0
  /// Where it stands in line, or stood last: a cancellation may come too late.
  var place: Int?
  /// How many messages wait with it.
  var parcel = 0
  var drops: Rescue?
  /// What it must be told when it attaches.
  var early: Wake?
}

/// A task that flushes once.
struct Flusher {
  enum Stage { case calls, attaches, waits, done }

  var stage = Stage.calls
  var id: Int?
  /// What it waits for, as far as it is not settled: a bit for each message.
  var waitsFor = 0
  /// What it must be told when it attaches.
  var early: Wake?

  var mayStep: Bool { stage == .calls || stage == .attaches }
}

extension World {
  func producerMayStep(_ index: Int) -> Bool {
    switch producers[index].stage {
    case .calls: producers[index].call < stage.scripts[index].count
    case .waits: false
    case .offersAgain, .attaches, .takesDrops, .savedDrops: true
    }
  }

  func producerSteps(_ index: Int) {
    let producer = producers[index]
    switch producer.stage {
    case .calls:
      producers[index].place = nil
      let message = stage.scripts[index][producer.call].lowerBound
      switch scenario.producers[index][producer.call] {
      case .trySend:
        tell("producer \(index): trySend(\(message))")
        sendOne(index, message, waits: false)
      // A message with a weight is weighed outside the lock, and goes the slow way.
      case .send where !stage.isWeighted:
        tell("producer \(index): send(\(message))")
        sendOne(index, message, waits: true)
      case .request:
        tell("producer \(index): request(\(message))")
        request(index, message)
      case .send, .sendMany:
        tell("producer \(index): send(contentsOf: \(stage.scripts[index][producer.call]))")
        sendRun(index)
      }
    case .offersAgain:
      tell("producer \(index): offers again")
      sendRun(index)
    case .attaches: attach(index)
    case .waits: fail("a producer that waits went on")
    case .takesDrops, .savedDrops: discardDrops(index)
    }
  }

  /// As `appendOrKeepLock`, and `offerHoldingLock` if that does not succeed.
  private func sendOne(_ index: Int, _ message: Int, waits: Bool) {
    if machine.slots.count < machine.slots.limit {
      guard let base = machine.slots.base else { return fail("the hot path has a limit and no memory") }
      expect(!book.isFull(0) && book.phase == .open, "the hot path took a message for which there is no room")
      (base + machine.slots.count * MemoryLayout<Int>.stride).initializeMemory(as: Int.self, to: message)
      machine.slots.count += 1
      book.accept(message)
      tell("  accepted on the hot path")
      return ended(index)
    }
    let weight = book.weight(message)
    let now = time
    switch machine.offered(weight: weight, now: now, &effects) {
    case .accepted(let slot, let count):
      accepted(slot, count, from: message)
      ended(index)
    case .full:
      expectFull(weight)
      if waits {
        producers[index].stage = .offersAgain
      } else {
        refused(index)
      }
    case .closed:
      expect(book.phase != .open, "closed before the end")
      refused(index, forGood: true)
    case .tooHeavy:
      expect(weight > stage.settings.heaviestMessage, "too heavy, and is not")
      refused(index)
    }
  }

  /// As `Core.submit`.
  private func request(_ index: Int, _ message: Int) {
    let weight = book.weight(message)
    let now = time
    switch machine.offered(weight: weight, now: now, &effects) {
    case .accepted(let slot, let count):
      requestNumbers[message] = machine.lastNumber
      accepted(slot, count, from: message)
      requests |= 1 << message
      ended(index)
    case .full where scenario.overflow == .suspend:
      expectFull(weight)
      producers[index].place = machine.senderWaits(stage.parcel(message..<message + 1))
      requestNumbers[message] = machine.lastNumber
      producers[index].parcel = 1
      producers[index].stage = .attaches
      book.waiting.append(Book.Waiting(producer: index, messages: message..<message + 1))
      tell("  waits in line")
    case .full:
      expectFull(weight)
      refused(index)
    case .closed:
      expect(book.phase != .open, "closed before the end")
      refused(index, forGood: true)
    case .tooHeavy:
      expect(weight > stage.settings.heaviestMessage, "too heavy, and is not")
      refused(index)
    }
  }

  /// As `Core.withdraw`: in time, or too late.
  func withdraw(_ message: Int) {
    tell("the caller of request \(message) is cancelled")
    cancellationsLeft -= 1
    requests &= ~(1 << message)
    let now = time
    let isExpected = book.withdraw(message)
    let target = UnsafeMutablePointer<Int>.allocate(capacity: 1)
    defer { target.deallocate() }
    target.initialize(to: -1)
    let isTaken = machine.withdrawn(requestNumbers[message], to: target, now: now, &effects)
    expect(isTaken == isExpected, isTaken ? "a request was taken out of a batch that has started" : "a request stays")
    expect(target.pointee == (isTaken ? message : -1), "request \(target.pointee) was taken out")
  }

  /// As `Core.sendRun`.
  private func sendRun(_ index: Int) {
    let call = stage.scripts[index][producers[index].call]
    let now = time
    while producers[index].sent < call.count {
      let next = call.lowerBound + producers[index].sent
      let weight = book.weight(next)
      let offer =
        if stage.isWeighted {
          machine.offered(weight: weight, now: now, &effects)
        } else {
          machine.offered(count: call.upperBound - next, now: now, &effects)
        }
      switch offer {
      case .accepted(let slot, let count):
        expect(count >= 1 && next + count <= call.upperBound, "accepted \(count) messages")
        guard violation == nil else { return }
        accepted(slot, count, from: next)
        producers[index].sent += count
        continue
      case .full where scenario.overflow == .suspend:
        expectFull(weight)
        var end = call.upperBound
        if stage.isWeighted, let heavy = (next..<end).first(where: { isTooHeavy($0) }) { end = heavy }
        let place = machine.senderWaits(stage.parcel(next..<end))
        producers[index].place = place
        producers[index].parcel = end - next
        producers[index].stage = .attaches
        book.waiting.append(Book.Waiting(producer: index, messages: next..<end))
        tell("  waits in line with \(next..<end)")
        return
      case .full:
        expectFull(weight)
        refused(index)
      case .closed:
        expect(book.phase != .open, "closed before the end")
        refused(index, forGood: true)
      case .tooHeavy:
        expect(weight > stage.settings.heaviestMessage, "too heavy, and is not")
        refused(index)
      }
      return
    }
    ended(index)
  }

  private func isTooHeavy(_ message: Int) -> Bool { stage.weights[message] > stage.settings.heaviestMessage }

  private func accepted(_ slot: UnsafeMutableRawPointer, _ count: Int, from first: Int) {
    for offset in 0..<count {
      (slot + offset * MemoryLayout<Int>.stride).initializeMemory(as: Int.self, to: first + offset)
    }
    expect(book.phase == .open, "accepted after the end")
    expect(!book.isFull(book.weight(first)), "accepted although it is full, or others wait")
    book.accept(first, count: count)
    tell("  accepted \(count)")
  }

  private func expectFull(_ weight: Int) {
    expect(book.isFull(weight), "refused for want of room, and there is room")
    tell("  full")
  }

  private func refused(_ index: Int, forGood: Bool = false) {
    machine.sendRefused()
    book.rejected += 1
    tell("  refused")
    ended(index)
    // Nothing is accepted any more; other producers show that.
    if forGood { producers[index].call = stage.scripts[index].count }
  }

  /// The call has come to its end, but for drops that nobody wants.
  private func ended(_ index: Int) {
    producers[index].call += 1
    producers[index].sent = 0
    producers[index].stage = scenario.overflow == .dropOldest && !scenario.savesDrops ? .takesDrops : .calls
  }

  private func attach(_ index: Int) {
    guard let place = producers[index].place else { return fail("no place in line") }
    tell("producer \(index): brings its continuation")
    isAsked = false
    let wake = machine.senderAttached(place, Self.name(producer: index))
    if let early = producers[index].early {
      expect(wake == early, "told \(wake.map { "\($0)" } ?? "nothing") when it attached, expected \(early)")
      producers[index].early = nil
      producerWoken(index, early)
    } else {
      expect(wake == nil, "told \(wake.map { "\($0)" } ?? "nothing") when it attached, too early")
      producers[index].stage = .waits
    }
  }

  func producerWoken(_ index: Int, _ wake: Wake) {
    switch wake {
    case .admitted:
      producers[index].sent += producers[index].parcel
      if producers[index].sent < stage.scripts[index][producers[index].call].count {
        producers[index].stage = .offersAgain
        producers[index].place = nil
      } else {
        let call = stage.scripts[index][producers[index].call]
        if stage.settings.canBeWithdrawn { requests |= 1 << call.lowerBound }
        ended(index)
      }
    case .closed:
      ended(index)
      producers[index].call = stage.scripts[index].count
    case .cancelled: ended(index)
    case .look, .settled: fail("a producer was told \(wake)")
    }
  }

  func cancelSender(_ index: Int) {
    guard let place = producers[index].place else { return fail("no place in line") }
    tell("producer \(index): is cancelled")
    cancellationsLeft -= 1
    let now = time
    machine.senderCancelled(place, now: now, &effects)
    book.cancel(producer: index)
    if producers[index].stage != .attaches, producers[index].stage != .waits { producers[index].place = nil }
  }

  private func discardDrops(_ index: Int) {
    if let drops = producers[index].drops {
      tell("producer \(index): has let the pushed-out messages go")
      producers[index].drops = nil
      saved(drops)
      producers[index].stage = .takesDrops
    } else if let drops = takeDrops() {
      tell("producer \(index): takes the pushed-out messages")
      producers[index].drops = drops
      producers[index].stage = .savedDrops
    } else {
      tell("producer \(index): finds no pushed-out messages")
      producers[index].stage = .calls
    }
  }

  // MARK: Flush

  func flusherSteps(_ index: Int) {
    switch flushers[index].stage {
    case .calls:
      tell("flusher \(index): flush()")
      book.flush()
      flushers[index].id = machine.flushAsked(&effects)
      flushers[index].waitsFor = unsettled
      expect((flushers[index].id == nil) == (unsettled == 0), "a flush waits for nothing, or does not wait")
      flushers[index].stage = flushers[index].id == nil ? .done : .attaches
    case .attaches:
      guard let id = flushers[index].id else { return fail("no flush") }
      tell("flusher \(index): brings its continuation")
      isAsked = false
      let wake = machine.flusherWaits(id, Self.name(flusher: index))
      // What it waits for has ended, and another slot has said so.
      if wake == .settled, flushers[index].waitsFor & unsettled == 0 {
        flushers[index].waitsFor = 0
        flushers[index].early = wake
      }
      expect(wake == flushers[index].early, "a flusher was told \(wake.map { "\($0)" } ?? "nothing") when it attached")
      flushers[index].stage = wake == nil ? .waits : .done
    case .waits, .done: fail("a flusher that waits went on")
    }
  }

  func cancelFlusher(_ index: Int) {
    guard let id = flushers[index].id else { return fail("no flush") }
    tell("flusher \(index): is cancelled")
    cancellationsLeft -= 1
    machine.flusherCancelled(id, &effects)
    if flushers[index].waitsFor != 0 {
      flushers[index].waitsFor = 0
      book.told.append((Self.name(flusher: index), .cancelled(admitted: 0)))
    }
    flushers[index].id = flushers[index].stage == .attaches ? flushers[index].id : nil
  }
}
