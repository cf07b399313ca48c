@testable import Batching

/// A task that sends, as `KeyedAggregator.send` does.
struct KeyedProducer {
  enum Stage: Int { case calls, pins, enters, attaches, waits }

  var stage = Stage.calls
  /// The call that it is in, or makes next.
  var call = 0
  /// Messages of this call that were accepted.
  var sent = 0
  /// The lanes of the messages that wait, or are about to.
  var lanes: [Int] = []
  var place: Int?
  /// What it must be told when it attaches.
  var early: Wake?

  func mayStep(_ calls: Int) -> Bool {
    switch stage {
    case .calls: call < calls
    case .waits: false
    case .pins, .enters, .attaches: true
    }
  }
}

extension KeyedWorld {
  func producerSteps(_ index: Int) {
    let producer = producers[index]
    let call = stage.scripts[index][producer.call]
    let message = call.lowerBound + producer.sent
    switch producer.stage {
    case .calls:
      producers[index].place = nil
      var waits = true
      if case .trySend = scenario.producers[index][producer.call] { waits = false }
      tell("producer \(index): \(waits ? "sends" : "tries") \(message) of key \(stage.keys[message])")
      offer(index, message, waits: waits)
    case .pins:
      let next = message + producer.lanes.count
      tell("producer \(index): pins the lane of \(next)")
      let lane = findLane(stage.keys[next])
      machine.pinLane(lane)
      producers[index].lanes.append(lane)
      producers[index].stage = next + 1 < call.upperBound ? .pins : .enters
    case .enters: enter(index, message..<call.upperBound)
    case .attaches: attach(index)
    case .waits: fail("a producer that waits went on")
    }
  }

  /// As `Core.askLane`: all keys have the same hash.
  private func findLane(_ key: Int) -> Int {
    var passed: LaneMark?
    while let mark = machine.findLane(0, after: &passed) {
      if self.key(ofLane: mark.lane) == key { return mark.lane }
      passed = mark
    }
    return machine.lanes.add(0, key: stage.names[key])
  }

  private func offer(_ index: Int, _ message: Int, waits: Bool) {
    let key = stage.keys[message]
    let lane = findLane(key)
    let now = time
    let mayAccept = book.mayAccept(key)
    switch machine.offered(toLane: lane, now: now, &effects) {
    case .accepted(let slot, _):
      expect(mayAccept, "accepted, and there is no room, or no share, or others wait")
      slot.initializeMemory(as: WideMessage.self, to: WideMessage(number: message))
      book.accept(message)
      tell("  accepted")
      producers[index].sent += 1
      if producers[index].sent == stage.scripts[index][producers[index].call].count { ended(index) }
    case .full where waits:
      expect(!mayAccept && book.phase == .open, "full, and there is room, and a share, and nobody in the way")
      machine.pinLane(lane)
      tell("  full")
      producers[index].lanes = [lane]
      let isLast = message + 1 == stage.scripts[index][producers[index].call].upperBound
      producers[index].stage = isLast ? .enters : .pins
    case .full:
      expect(!mayAccept && book.phase == .open, "full, and there is room, and a share, and nobody in the way")
      refused(index, lane)
    case .closed:
      expect(book.phase != .open, "closed before the end")
      refused(index, lane)
      producers[index].call = stage.scripts[index].count
    case .tooHeavy: fail("too heavy, and nothing weighs anything")
    }
  }

  private func refused(_ index: Int, _ lane: Int) {
    tell("  refused")
    machine.laneSendRefused(lane, &effects)
    book.rejected += 1
    ended(index)
  }

  private func enter(_ index: Int, _ messages: Range<Int>) {
    tell("producer \(index): gets in line with \(messages)")
    let parcel = stage.parcel(messages, lanes: producers[index].lanes)
    let now = time
    guard let place = machine.laneSenderWaits(parcel, now: now, &effects) else {
      expect(book.phase != .open, "refused before the end")
      machine.laneSenderRefused(parcel, &effects)
      book.rejected += 1
      ended(index)
      producers[index].call = stage.scripts[index].count
      return
    }
    expect(book.phase == .open, "in line after the end")
    producers[index].place = place
    producers[index].stage = .attaches
    book.waiting.append(KeyedBook.Waiting(producer: index, messages: messages))
    book.admit()
  }

  private func attach(_ index: Int) {
    guard let place = producers[index].place else { return fail("no place in line") }
    tell("producer \(index): brings its continuation")
    let wake = machine.senderAttached(place, Self.name(producer: index))
    let early = producers[index].early
    expect(wake == early, "told \(wake.map { "\($0)" } ?? "nothing") when it attached")
    producers[index].early = nil
    if let early { producerWoken(index, early) } else { producers[index].stage = .waits }
  }

  func producerWoken(_ index: Int, _ wake: Wake) {
    switch wake {
    case .admitted, .cancelled: ended(index)
    case .closed:
      ended(index)
      producers[index].call = stage.scripts[index].count
    case .look, .settled: fail("a producer was told \(wake)")
    }
  }

  private func ended(_ index: Int) {
    producers[index].call += 1
    producers[index].sent = 0
    producers[index].lanes = []
    producers[index].stage = .calls
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

  // MARK: Flush

  func flusherSteps(_ index: Int) {
    switch flushers[index].stage {
    case .calls:
      tell("flusher \(index): flush()")
      book.closeAll(.flush)
      flushers[index].id = machine.flushAsked(&effects)
      flushers[index].waitsFor = unsettled
      expect((flushers[index].id == nil) == (unsettled == 0), "a flush waits for nothing, or does not wait")
      flushers[index].stage = flushers[index].id == nil ? .done : .attaches
    case .attaches:
      guard let id = flushers[index].id else { return fail("no flush") }
      tell("flusher \(index): brings its continuation")
      let wake = machine.flusherWaits(id, Self.name(flusher: index))
      expect(wake == flushers[index].early, "a flusher was told \(wake.map { "\($0)" } ?? "nothing") when it attached")
      flushers[index].stage = wake == nil ? .waits : .done
    case .waits, .done: fail("a flusher that waits went on")
    }
  }
}
