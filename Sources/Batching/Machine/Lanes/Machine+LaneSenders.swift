import DequeModule

extension Machine {
  /// A sender is about to send to a lane, later than in this critical section: it must not be forgotten.
  mutating func pinLane(_ lane: Int) {
    lanes[lane].pins += 1
  }

  mutating func unpinLane(_ lane: Int, _ effects: inout Effects<Waiter>) {
    lanes[lane].pins -= 1
    forgetIfIdle(lane, &effects)
  }

  /// A send for a lane came back with an error, or a `trySend` without having been accepted.
  mutating func laneSendRefused(_ lane: Int, _ effects: inout Effects<Waiter>) {
    sendRefused()
    forgetIfIdle(lane, &effects)
  }

  /// A sender that was about to wait is refused.
  mutating func laneSenderRefused(_ parcel: Parcel, _ effects: inout Effects<Waiter>) {
    sendRefused()
    unpinRest(of: parcel, &effects)
  }

  /// A sender whose offer found no room waits in line, with the lanes of its messages pinned; returns its place, or `nil` when
  /// the aggregator has been shut down.
  ///
  /// If there is room by now, some are accepted at once.
  mutating func laneSenderWaits(_ parcel: Parcel, now: Duration, _ effects: inout Effects<Waiter>) -> Int? {
    guard phase == .open else { return nil }
    let id = senders.enter(parcel)
    file(id)
    admitLaneSenders(now: now, &effects)
    return id
  }

  /// Accepts messages of waiting senders, first come, first served, but for those whose lane has had its share.
  mutating func admitLaneSenders(now: @autoclosure () -> Duration, _ effects: inout Effects<Waiter>) {
    while let id = nextSender() {
      guard var parcel = senders[id], hasRoom(parcel.nextWeight) else { return }
      unfile(id, from: parcel.nextLane)
      repeat {
        let lane = parcel.nextLane
        let slot = append(toLane: lane, weight: parcel.nextWeight, now: now(), &effects)
        layout.move(slot, layout.slot(parcel.next, of: parcel.base), 1)
        lanes[lane].pins -= 1
        parcel.next += 1
      } while parcel.next < parcel.count && hasRoom(parcel.nextWeight)
        && hasShare(parcel.nextLane, parcel.nextWeight) && lanes[parcel.nextLane].blocked.isEmpty
      senders[id] = parcel
      if parcel.next == parcel.count {
        _ = senders.release(id, &effects) { _ in .admitted }
      } else {
        file(id)
      }
    }
  }

  /// The sender that is served next when there is room.
  private mutating func nextSender() -> Int? {
    var next: Int?
    for lane in lanes.blocked {
      guard let id = lanes[lane].blocked.first, next.map({ id < $0 }) ?? true, let parcel = senders[id],
        hasShare(lane, parcel.nextWeight)
      else { continue }
      next = id
    }
    while let id = lanes.line.first, next.map({ id < $0 }) ?? true, let parcel = senders[id] {
      // The lane has had its share since.
      let lane = parcel.nextLane
      if lanes[lane].blocked.isEmpty, hasShare(lane, parcel.nextWeight) { return id }
      lanes.line.removeFirst()
      block(id, lane)
      if hasShare(lane, parcel.nextWeight), lanes[lane].blocked.first == id { next = id }
    }
    return next
  }

  /// Puts a sender where it waits: for the share of its next message's lane, or for room.
  private mutating func file(_ id: Int) {
    guard let parcel = senders[id] else { return }
    let lane = parcel.nextLane
    if lanes[lane].blocked.isEmpty, hasShare(lane, parcel.nextWeight) {
      lanes.line.insertSorted(id)
    } else {
      block(id, lane)
    }
  }

  private mutating func block(_ id: Int, _ lane: Int) {
    if lanes[lane].blocked.isEmpty { lanes.blocked.append(lane) }
    lanes[lane].blocked.insertSorted(id)
  }

  private mutating func unfile(_ id: Int, from lane: Int) {
    if lanes[lane].blocked.removeSorted(id) {
      if lanes[lane].blocked.isEmpty { lanes.blocked.removeAll { $0 == lane } }
    } else {
      _ = lanes.line.removeSorted(id)
    }
  }

  /// A waiting sender's task was cancelled.
  mutating func laneSenderCancelled(_ id: Int, now: Duration, _ effects: inout Effects<Waiter>) {
    guard let parcel = senders[id] else { return }
    unfile(id, from: parcel.nextLane)
    unpinRest(of: parcel, &effects)
    _ = senders.release(id, &effects) { .cancelled(admitted: $0.next) }
    admitLaneSenders(now: now, &effects)
  }

  /// The aggregator takes no more messages: those who wait to send some are refused.
  mutating func refuseLaneSenders(_ effects: inout Effects<Waiter>) {
    for lane in lanes.blocked { lanes[lane].blocked = [] }
    lanes.blocked = []
    lanes.line = []
    while !senders.isEmpty {
      sendRefused()
      let parcel = senders.first
      unpinRest(of: parcel, &effects)
      senders.releaseFirst(.closed(admitted: parcel.next), &effects)
    }
  }

  private mutating func unpinRest(of parcel: Parcel, _ effects: inout Effects<Waiter>) {
    guard let numbers = parcel.lanes else { return }
    for index in parcel.next..<parcel.count { unpinLane(numbers[index], &effects) }
  }
}

extension Parcel {
  /// The lane of the next message, in a by-key aggregator.
  var nextLane: Int { lanes?[next] ?? 0 }

  var nextWeight: Int { weights?[next] ?? 0 }
}

extension Deque<Int> {
  /// Whether it is there, and where, or where it would be.
  private func place(of number: Int) -> Int {
    var low = 0
    var high = count
    while low < high {
      let middle = (low + high) / 2
      if self[middle] < number { low = middle + 1 } else { high = middle }
    }
    return low
  }

  fileprivate mutating func insertSorted(_ number: Int) {
    if let last, last < number { append(number) } else { insert(number, at: place(of: number)) }
  }

  fileprivate mutating func removeSorted(_ number: Int) -> Bool {
    let place = place(of: number)
    guard place < count, self[place] == number else { return false }
    remove(at: place)
    return true
  }
}
