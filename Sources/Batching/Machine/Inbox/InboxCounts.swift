/// How far an inbox has come, in one word: batches posted, started and ended, by numbers that wrap around, and whether the slot is
/// to come to the lock.
struct InboxCounts: Equatable {
  private(set) var bits: UInt64 = 0

  init() {}

  init(bits: UInt64) {
    self.bits = bits
  }

  var started: UInt16 {
    get { self[0] }
    set { self[0] = newValue }
  }
  /// Of those started: one less, or none.
  var ended: UInt16 {
    get { self[16] }
    set { self[16] = newValue }
  }
  /// The highest bits, so that one more can be added to the word as it is.
  var posted: UInt16 {
    get { self[48] }
    set { self[48] = newValue }
  }
  /// As soon as its batch has ended.
  var isWanted: Bool {
    get { bits & Self.wanted != 0 }
    set { bits = newValue ? bits | Self.wanted : bits & ~Self.wanted }
  }
  /// When all that is posted has ended.
  var isWantedWhenIdle: Bool {
    get { bits & Self.wantedWhenIdle != 0 }
    set { bits = newValue ? bits | Self.wantedWhenIdle : bits & ~Self.wantedWhenIdle }
  }

  /// Whether the slot has nothing to do.
  var isIdle: Bool { posted == started && started == ended }

  static var onePosted: UInt64 { 1 << 48 }
  private static var wanted: UInt64 { 1 << 32 }
  private static var wantedWhenIdle: UInt64 { 1 << 33 }

  private subscript(shift: Int) -> UInt16 {
    get { UInt16(truncatingIfNeeded: bits >> shift) }
    set { bits = bits & ~(0xffff << shift) | UInt64(newValue) << shift }
  }
}
