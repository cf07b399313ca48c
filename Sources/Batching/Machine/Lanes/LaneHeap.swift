/// Deadlines of lanes, the earliest first: one timer serves any number of keys.
///
/// A binary heap (J. W. J. Williams, 1964) that knows where each lane is, so that a batch that closes early takes its
/// deadline along and none is left to be skipped later. Deadlines come mostly in their order, and then one costs a compare.
struct LaneHeap {
  struct Entry {
    /// In attoseconds: numbers are compared faster than durations.
    var deadline: Int128
    var lane: Int
  }

  private(set) var entries: [Entry] = []
  /// Where in `entries` each lane is, by its number; -1 for those that are not.
  private var places: [Int] = []

  var count: Int { entries.count }

  var earliest: Duration? { entries.first.map { Duration(attoseconds: $0.deadline) } }

  /// Sets the deadline of a lane, which may have one.
  mutating func set(_ lane: Int, _ deadline: Duration) {
    if lane >= places.count { places += repeatElement(-1, count: max(lane + 1, 2 * places.count) - places.count) }
    var place = places[lane]
    if place < 0 {
      place = entries.count
      entries.append(Entry(deadline: deadline.attoseconds, lane: lane))
      places[lane] = place
      _ = siftUp(place)
    } else {
      entries[place].deadline = deadline.attoseconds
      siftDown(siftUp(place))
    }
  }

  mutating func remove(_ lane: Int) {
    guard lane < places.count, places[lane] >= 0 else { return }
    let place = places[lane]
    places[lane] = -1
    let moved = entries.removeLast()
    guard moved.lane != lane else { return }
    entries[place] = moved
    places[moved.lane] = place
    siftDown(siftUp(place))
  }

  /// Takes out the lane with the earliest deadline, if that is not after `now`.
  mutating func popDue(_ now: Duration) -> Int? {
    guard let first = entries.first, first.deadline <= now.attoseconds else { return nil }
    remove(first.lane)
    return first.lane
  }

  /// Takes out the lane with the earliest deadline.
  mutating func pop() -> Int? {
    guard let lane = entries.first?.lane else { return nil }
    remove(lane)
    return lane
  }

  private mutating func siftUp(_ start: Int) -> Int {
    let entry = entries[start]
    var place = start
    while place > 0 {
      let parent = (place - 1) / 2
      guard entry.deadline < entries[parent].deadline else { break }
      put(entries[parent], at: place)
      place = parent
    }
    if place != start { put(entry, at: place) }
    return place
  }

  private mutating func siftDown(_ start: Int) {
    let entry = entries[start]
    var place = start
    while true {
      var child = 2 * place + 1
      guard child < entries.count else { break }
      if child + 1 < entries.count, entries[child + 1].deadline < entries[child].deadline { child += 1 }
      guard entries[child].deadline < entry.deadline else { break }
      put(entries[child], at: place)
      place = child
    }
    if place != start { put(entry, at: place) }
  }

  private mutating func put(_ entry: Entry, at place: Int) {
    entries[place] = entry
    places[entry.lane] = place
  }
}
