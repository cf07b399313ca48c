/// Messages of a sender that waits, in memory that the sender owns.
///
/// The machine moves them out, in order.
struct Parcel {
  let base: UnsafeMutableRawPointer
  let count: Int
  /// What each weighs; `nil` where nothing is weighed.
  let weights: UnsafeMutablePointer<Int>?
  /// In a by-key aggregator: the lane of each.
  var lanes: UnsafeMutablePointer<Int>?
  /// Those before it have been accepted.
  var next = 0
  /// Where messages can be withdrawn, and so wait one by one: the number of the one.
  var number: Int?
}

extension Machine {
  /// A sender whose offer found no room waits in line; returns its place.
  mutating func senderWaits(_ parcel: Parcel) -> Int {
    retract(isWanted: true)
    defer { limitHotPath() }
    var parcel = parcel
    if settings.canBeWithdrawn { parcel.number = nextNumber() }
    return senders.enter(parcel)
  }

  /// A waiting sender brings its continuation, or learns what has become of it.
  mutating func senderAttached(_ id: Int, _ waiter: Waiter) -> Wake? {
    senders.attach(waiter, to: id)
  }

  /// A waiting sender's task was cancelled.
  ///
  /// Those behind it may fit where it did not.
  mutating func senderCancelled(_ id: Int, now: @autoclosure () -> Duration, _ effects: inout Effects<Waiter>) {
    if settings.isKeyed { return laneSenderCancelled(id, now: now(), &effects) }
    guard senders.release(id, &effects, { .cancelled(admitted: $0.next) }) else { return }
    countOpen()
    countInbox()
    admitSenders(now: now(), &effects)
    limitHotPath()
  }

  /// Accepts messages of waiting senders while there is room, first come, first served.
  mutating func admitSenders(now: @autoclosure () -> Duration, _ effects: inout Effects<Waiter>) {
    if settings.isKeyed {
      if !senders.isEmpty { admitLaneSenders(now: now(), &effects) }
      return
    }
    while !senders.isEmpty {
      let parcel = senders.first
      let weight = parcel.weights?[parcel.next] ?? 0
      guard hasRoom(weight) else { return }
      let source = layout.slot(parcel.next, of: parcel.base)
      if settings.isTagged {
        let slot = append(weight: weight, number: parcel.number, now: now(), &effects)
        layout.move(slot, source, 1)
        senders.first.next += 1
      } else {
        let (slot, count) = append(atMost: parcel.count - parcel.next, now: now(), &effects)
        layout.move(slot, source, count)
        senders.first.next += count
      }
      if senders.first.next == parcel.count { senders.releaseFirst(.admitted, &effects) }
    }
  }

  /// The aggregator takes no more messages: those who wait to send some are refused.
  mutating func refuseSenders(_ effects: inout Effects<Waiter>) {
    if settings.isKeyed { return refuseLaneSenders(&effects) }
    while !senders.isEmpty {
      sendRefused()
      senders.releaseFirst(.closed(admitted: senders.first.next), &effects)
    }
  }
}
