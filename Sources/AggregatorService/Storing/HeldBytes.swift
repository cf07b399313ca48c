import Synchronization

/// The bytes of bodies that are in memory, those that are still being read included.
final class HeldBytes: Sendable {
  private let held = Atomic(0)
  let limit: Int

  init(limit: Int = 256 << 20) {
    self.limit = limit
  }

  var current: Int { held.load(ordering: .relaxed) }

  /// Takes room for bytes; `false` when there is none.
  func hold(_ bytes: Int) -> Bool {
    guard held.add(bytes, ordering: .relaxed).newValue <= limit else {
      giveBack(bytes)
      return false
    }
    return true
  }

  func giveBack(_ bytes: Int) {
    held.subtract(bytes, ordering: .relaxed)
  }
}
