/// What became of messages that were offered.
enum Offer: Equatable {
  /// So many were accepted, one at least. Their slots begin here; the shell fills them before it releases the lock.
  case accepted(UnsafeMutableRawPointer, count: Int)
  /// There is no room, or others wait for it.
  case full
  case closed
  case tooHeavy
}

extension Machine {
  /// A sender has one message, which weighs 0 where nothing is weighed.
  ///
  /// The time is asked when it is needed, once a batch.
  mutating func offered(
    weight: Int = 0, now: @autoclosure () -> Duration, _ effects: inout Effects<Waiter>
  ) -> Offer {
    countOpen()
    defer { limitHotPath() }
    guard phase == .open else { return .closed }
    guard weight <= settings.heaviestMessage else { return .tooHeavy }
    guard senders.isEmpty else { return .full }
    if !hasRoom(weight) { countInbox() }
    if !hasRoom(weight) {
      guard settings.dropsOldest, pushOut(toFit: weight, now: now(), &effects) else { return .full }
    }
    return .accepted(append(weight: weight, now: now(), &effects), count: 1)
  }

  /// A sender has several messages that weigh nothing.
  ///
  /// As many are accepted as lie side by side; it offers the rest again.
  mutating func offered(
    count: Int, now: @autoclosure () -> Duration, _ effects: inout Effects<Waiter>
  ) -> Offer {
    if settings.isTagged { return offered(now: now(), &effects) }
    countOpen()
    defer { limitHotPath() }
    guard phase == .open else { return .closed }
    guard senders.isEmpty else { return .full }
    if !hasRoom(0) { countInbox() }
    guard hasRoom(0) else { return .full }
    let (slot, count) = append(atMost: count, now: now(), &effects)
    return .accepted(slot, count: count)
  }

  /// A send came back with an error, or a `trySend` without having been accepted.
  mutating func sendRefused() {
    ledger.rejected += 1
  }

  func hasRoom(_ weight: Int) -> Bool {
    ledger.held < settings.capacity && weight <= settings.maximumHeldWeight - heldWeight
  }

  /// Appends a message for which there is room; a new one, if it has no number yet.
  mutating func append(
    weight: Int, number: Int? = nil, now: @autoclosure () -> Duration, _ effects: inout Effects<Waiter>
  ) -> UnsafeMutableRawPointer {
    if let open, weight > settings.maximumBatchWeight - open.weight {
      close(.weight, &effects)
    }
    if open == nil { begin(at: now()) }
    let (slot, _) = fill(1)
    if settings.isTagged {
      let arrival = settings.keepsArrivals ? now() : .zero
      open?.segment.tags?[slots.count - 1] = Segment.Tag(
        weight: weight, arrival: arrival, number: number ?? nextNumber())
      open?.weight += weight
      heldWeight += weight
    }
    filled(&effects)
    return slot
  }

  /// A number for a message that is offered.
  ///
  /// As senders wait in line, numbers rise in the order of acceptance, whether given before the wait or after.
  mutating func nextNumber() -> Int {
    lastNumber += 1
    return lastNumber
  }

  /// Appends messages that weigh nothing, for at least one of which there is room, as many as lie side by side.
  mutating func append(
    atMost count: Int, now: @autoclosure () -> Duration, _ effects: inout Effects<Waiter>
  ) -> (UnsafeMutableRawPointer, count: Int) {
    if open == nil { begin(at: now()) }
    let filledSlots = fill(min(count, settings.capacity - ledger.held, settings.batchSize - openCount))
    filled(&effects)
    return filledSlots
  }
}
