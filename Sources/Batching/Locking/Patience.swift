import Synchronization

/// Whether it pays to look out for something a while before one suspends.
///
/// Where it did the last time, one looks out again. Each time that it was in vain doubles how often one does not, up to 64 times: who
/// waits for handlers that take milliseconds would otherwise burn microseconds for each message. (The idea is that of glibc's adaptive mutex, which spins by how long it had to
/// the last times; the doubling is that of exponential back-off.)
struct Patience: ~Copyable, Sendable {
  /// How often not to look out from now on, below, and how often after the last time in vain, above.
  ///
  /// What gets lost when two change it at the same time does no harm.
  private let state = Atomic<UInt32>(0)

  /// Whether to look out this time.
  func isThere() -> Bool {
    let current = state.load(ordering: .relaxed)
    guard current & Self.skips > 0 else { return true }
    state.store(current &- 1, ordering: .relaxed)
    return false
  }

  /// It was not in vain.
  func paid() {
    if state.load(ordering: .relaxed) != 0 { state.store(0, ordering: .relaxed) }
  }

  /// It was in vain.
  func wasInVain() {
    let skips = min(max(2 * (state.load(ordering: .relaxed) >> 16), 1), Self.most)
    state.store(skips << 16 | skips, ordering: .relaxed)
  }

  private static var skips: UInt32 { 0xffff }
  private static var most: UInt32 { 64 }
}
