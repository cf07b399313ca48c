import DequeModule

/// What makes flush cost the same whatever is held: everything that is accepted between two flushes is one epoch, and an
/// epoch only counts its unsettled batches and drops.
///
/// A flush closes the epoch and waits until it and all before it are empty. There are as many epochs as flushes that wait,
/// plus one, so a batch that is stuck holds up no memory.
struct Epochs {
  /// Unsettled batches and drops of each epoch, oldest first; the last is the one that is open.
  private(set) var unsettled: Deque<Int> = [0]
  /// The number of the first epoch in `unsettled`.
  ///
  /// All epochs before it are settled.
  private(set) var firstUnsettled = 0

  /// The epoch to which what is accepted now belongs.
  var current: Int { firstUnsettled + unsettled.count - 1 }

  mutating func retain(_ epoch: Int) {
    unsettled[epoch - firstUnsettled] += 1
  }

  /// Whether older epochs came to their end by it.
  mutating func release(_ epoch: Int, count: Int = 1) -> Bool {
    unsettled[epoch - firstUnsettled] -= count
    var advanced = false
    while unsettled.count > 1, unsettled[0] == 0 {
      unsettled.removeFirst()
      firstUnsettled += 1
      advanced = true
    }
    return advanced
  }

  /// Ends the current epoch; returns the epoch that is the last to wait for, or `nil` when all is settled.
  mutating func close() -> Int? {
    if unsettled[unsettled.count - 1] > 0 {
      unsettled.append(0)
    }
    return unsettled.count > 1 ? current - 1 : nil
  }
}
