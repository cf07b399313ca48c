/// The slot's side of an inbox, without the lock.
struct InboxReader {
  private let memory: InboxMemory
  /// How far it had come when the slot looked last.
  private(set) var seen: InboxCounts

  /// What the slot does next.
  enum Order {
    case start(TakenBatch)
    /// It has nothing to do.
    case wait
    /// It is wanted at the lock.
    case come
  }

  init(_ memory: InboxMemory, seen: InboxCounts) {
    self.memory = memory
    self.seen = seen
  }

  /// The slot's batch has ended, and all of its messages were handled.
  mutating func batchEnded() -> Order { goOn(isEnd: true) }

  /// The slot has nothing to do, and looks for a batch.
  mutating func look() -> Order {
    seen = memory.counts
    return goOn(isEnd: false)
  }

  private mutating func goOn(isEnd: Bool) -> Order {
    let starts: Bool
    (starts, seen) = memory.change(from: seen) { counts in
      if isEnd { counts.ended &+= 1 }
      guard counts.posted != counts.started else { return false }
      counts.started &+= 1
      return true
    }
    if starts { return .start(memory[seen.started &- 1]) }
    return seen.isWanted || seen.isWantedWhenIdle ? .come : .wait
  }
}
