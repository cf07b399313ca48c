import DequeModule

/// How far the messages of one partition are settled: what may be committed, however they are acknowledged out of order.
///
/// Pure.
///
/// A committed offset says that *everything* before it is done. So it may only pass messages that were acknowledged without
/// a gap. Offsets themselves may have gaps (compacted topics, marks of transactions): those were never delivered and are
/// passed over with their neighbours.
struct OffsetTracker: Sendable {
  private enum State: Sendable {
    /// Handed out, and not settled.
    case inHands
    /// Given back, and not handed out again.
    case returned
    case acknowledged
  }

  private struct Entry: Sendable {
    let offset: Int64
    var state: State
  }

  /// What was handed out and is not behind the contiguous prefix, by growing offset; the first is not acknowledged.
  private var entries: Deque<Entry> = []
  /// The offset behind the contiguous prefix; `nil` before anything was acknowledged.
  private(set) var position: Int64?
  /// The position that the group's coordinator is known to have.
  private var committed: Int64?
  /// The offset of the newest message that was handed out.
  private(set) var newest: Int64?
  /// Messages that are handed out and neither acknowledged nor given back.
  private(set) var outstanding = 0

  /// Begins with nothing.
  init() {}

  /// What is to be committed: the offset of the first message that is not done; `nil` when that is known to be committed.
  var committable: Int64? { position == committed ? nil : position }

  /// A message is handed out, for the first time or again.
  ///
  /// - Returns: Whether it should be: not when somebody has it, or it is acknowledged.
  mutating func handOut(_ offset: Int64) -> Bool {
    if let newest, offset <= newest {
      guard let index = index(of: offset), entries[index].state == .returned else { return false }
      entries[index].state = .inHands
    } else {
      entries.append(Entry(offset: offset, state: .inHands))
      newest = offset
    }
    outstanding += 1
    return true
  }

  /// A message is in the sink.
  ///
  /// It counts once, also when it was given back before.
  mutating func acknowledge(_ offset: Int64) {
    guard let index = index(of: offset), entries[index].state != .acknowledged else { return }
    if entries[index].state == .inHands { outstanding -= 1 }
    entries[index].state = .acknowledged
    while let first = entries.first, first.state == .acknowledged {
      entries.removeFirst()
      position = first.offset + 1
    }
  }

  /// A message was not stored.
  ///
  /// - Returns: Whether it is to be handed out again.
  mutating func giveBack(_ offset: Int64) -> Bool {
    guard let index = index(of: offset), entries[index].state == .inHands else { return false }
    entries[index].state = .returned
    outstanding -= 1
    return true
  }

  /// The coordinator has taken a commit of this position.
  mutating func commitSucceeded(_ offset: Int64) {
    committed = max(committed ?? offset, offset)
  }

  private func index(of offset: Int64) -> Int? {
    var low = entries.startIndex
    var high = entries.endIndex
    while low < high {
      let middle = (low + high) / 2
      if entries[middle].offset < offset { low = middle + 1 } else { high = middle }
    }
    return low < entries.endIndex && entries[low].offset == offset ? low : nil
  }
}
