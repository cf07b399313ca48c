import DequeModule

/// What makes flush cost the same whatever is held: everything that is accepted between two flushes is one epoch, and an
/// epoch only counts its unsettled batches and drops.
///
/// A flush closes the epoch and waits until it and all before it are empty. There are as many epochs as flushes that wait,
/// plus one, so a batch that is stuck holds up no memory.
struct Epochs {
  /// Unsettled batches and drops of the epoch that is open.
  ///
  /// Beside the others, and not the last of them, because it is counted for each batch: a number in the machine's own memory.
  private(set) var open = 0
  /// Those of the closed ones, oldest first.
  private(set) var closed: Deque<Int> = []
  /// The number of the first epoch that is not settled.
  private(set) var firstUnsettled = 0

  /// The epoch to which what is accepted now belongs.
  var current: Int { firstUnsettled + closed.count }

  mutating func retain(_ epoch: Int) {
    if epoch == current { open += 1 } else { closed[epoch - firstUnsettled] += 1 }
  }

  /// Whether older epochs came to their end by it.
  mutating func release(_ epoch: Int, count: Int = 1) -> Bool {
    guard epoch != current else {
      open -= count
      return false
    }
    closed[epoch - firstUnsettled] -= count
    var advanced = false
    while closed.first == 0 {
      closed.removeFirst()
      firstUnsettled += 1
      advanced = true
    }
    return advanced
  }

  /// Ends the current epoch; returns the epoch that is the last to wait for, or `nil` when all is settled.
  mutating func close() -> Int? {
    if open > 0 {
      closed.append(open)
      open = 0
    }
    return closed.isEmpty ? nil : current - 1
  }
}
