import DequeModule

/// Tasks that wait in line, first come, first served, each of which can leave it from the middle.
///
/// A task enters in the critical section in which it learns that it has to wait, and brings its continuation in a second
/// one, because none can be made under a lock. What happens to it between the two is kept until it arrives. An ID is never
/// used again, so a cancellation that comes too late finds nobody.
struct WaitQueue<Payload, Waiter> {
  struct Entry {
    let id: Int
    var payload: Payload
    var waiter: Waiter?
    var hasLeft = false
  }

  /// In the order of their IDs; those that left from the middle stay until the line has moved past them.
  private(set) var entries: Deque<Entry> = []
  /// What became of tasks that have not brought their continuation yet.
  private(set) var early: [(id: Int, wake: Wake)] = []
  private(set) var nextID = 0
  private(set) var count = 0

  var isEmpty: Bool { count == 0 }

  /// The payload of the one that is next in line.
  ///
  /// There must be one.
  var first: Payload {
    get { entries[0].payload }
    set { entries[0].payload = newValue }
  }

  /// The payload of the one that entered as `id`, if it still waits.
  subscript(id: Int) -> Payload? {
    get { index(of: id).flatMap { entries[$0].hasLeft ? nil : entries[$0].payload } }
    set {
      if let newValue, let index = index(of: id) { entries[index].payload = newValue }
    }
  }

  mutating func enter(_ payload: Payload) -> Int {
    defer { nextID += 1 }
    entries.append(Entry(id: nextID, payload: payload))
    count += 1
    return nextID
  }

  /// Takes the continuation of the task that entered as `id`, or says what has become of it already.
  mutating func attach(_ waiter: Waiter, to id: Int) -> Wake? {
    if let index = early.firstIndex(where: { $0.id == id }) {
      return early.remove(at: index).wake
    }
    if let index = index(of: id) { entries[index].waiter = waiter }
    return nil
  }

  /// Takes the first out of the line and tells it why.
  mutating func releaseFirst(_ wake: Wake, _ effects: inout Effects<Waiter>) {
    let entry = entries.removeFirst()
    count -= 1
    tell(entry, wake, &effects)
    dropThoseWhoLeft()
  }

  /// Takes `id` out of the line, if it is still there, and tells it what `wake` makes of its payload.
  mutating func release(_ id: Int, _ effects: inout Effects<Waiter>, _ wake: (Payload) -> Wake) -> Bool {
    guard let index = index(of: id), !entries[index].hasLeft else { return false }
    tell(entries[index], wake(entries[index].payload), &effects)
    entries[index].hasLeft = true
    entries[index].waiter = nil
    count -= 1
    dropThoseWhoLeft()
    return true
  }

  private mutating func tell(_ entry: Entry, _ wake: Wake, _ effects: inout Effects<Waiter>) {
    if let waiter = entry.waiter {
      effects.resume(waiter, wake)
    } else {
      early.append((entry.id, wake))
    }
  }

  /// Keeps the front of the line somebody who waits, and those who left fewer than those who wait.
  private mutating func dropThoseWhoLeft() {
    while let first = entries.first, first.hasLeft { entries.removeFirst() }
    if entries.count > 2 * count + 16 {
      entries.removeAll { $0.hasLeft }
    }
  }

  private func index(of id: Int) -> Int? {
    var low = 0
    var high = entries.count
    while low < high {
      let middle = (low + high) / 2
      if entries[middle].id < id { low = middle + 1 } else { high = middle }
    }
    return low < entries.count && entries[low].id == id ? low : nil
  }
}
