import Synchronization

/// Tells slots that are between two batches that one is due, without a look at the lock.
///
/// A slot that has run dry waits a moment before it suspends. To be suspended and woken takes 15 µs and more, in which a sender
/// without a pause fills all the room that there is, and then has to be suspended itself. So it waits about as long as that takes,
/// which is never more than twice what the better choice would have cost (Karlin, Manasse, McGeoch and Owicki, "Competitive
/// randomized algorithms for nonuniform problems", 1994). The lock would be the wrong place to look at meanwhile: each look takes
/// its cache line away from who fills the batch. This word has a line of its own, and is written once a batch.
struct Bell: ~Copyable, Sendable {
  // Unchecked because a pointer is not Sendable; it leads to an atomic, which is.
  private nonisolated(unsafe) let last: UnsafeMutablePointer<Atomic<UInt32>>

  init() {
    // 128: the pair of lines that the hardware fetches together.
    last = UnsafeMutableRawPointer.allocate(byteCount: 128, alignment: 128)
      .bindMemory(to: Atomic<UInt32>.self, capacity: 1)
    last.initialize(to: Atomic(0))
  }

  deinit {
    last.deinitialize(count: 1)
    last.deallocate()
  }

  /// A batch is due.
  ///
  /// Strokes have numbers that rise by one. Of two at once the earlier may be heard last, and the later not at all.
  func ring(_ stroke: UInt32) {
    last.pointee.store(stroke, ordering: .relaxed)
  }

  /// Returns when there has been a stroke later than this one, or after some 15 µs.
  ///
  /// It is a hint, with no order to anything else: what there is says the machine.
  func wait(after stroke: UInt32) {
    // One that the slot has heard of, and that is about to be rung, is none for it.
    Self.lookOut { Int32(bitPattern: last.pointee.load(ordering: .relaxed) &- stroke) > 0 }
  }

  /// Looks, again and again, until it is there, or for some 15 µs.
  @inline(__always)
  static func lookOut(for isThere: () -> Bool) {
    var left = looks
    while left > 0, !isThere() {
      SpinLock.stayAway(looks: 64)
      left -= 1
    }
  }

  private static var looks: Int {
    #if DEBUG
      8
    #else
      768
    #endif
  }
}
