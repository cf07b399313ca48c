import Synchronization

/// What an inbox and its reader share: the word, on a pair of cache lines of its own, and the places.
// Unchecked because pointers are not Sendable. The word is an atomic. A place is written with the lock held, before its batch is
// posted; it is read by the slot once that has started the batch, and with the lock held; and it is written again only when the batch
// has ended.
struct InboxMemory: @unchecked Sendable {
  private let word: UnsafeMutablePointer<Atomic<UInt64>>
  private let batches: UnsafeMutablePointer<TakenBatch>

  /// A power of two, as numbers wrap around.
  static var places: Int { 8 }
  private static var pairOfLines: Int { 128 }

  init() {
    let memory = UnsafeMutableRawPointer.allocate(
      byteCount: Self.pairOfLines + Self.places * MemoryLayout<TakenBatch>.stride, alignment: Self.pairOfLines)
    word = memory.bindMemory(to: Atomic<UInt64>.self, capacity: 1)
    word.initialize(to: Atomic(0))
    batches = (memory + Self.pairOfLines).bindMemory(to: TakenBatch.self, capacity: Self.places)
  }

  func free() {
    UnsafeMutableRawPointer(word).deallocate()
  }

  subscript(number: UInt16) -> TakenBatch {
    get { batches[Int(number) % Self.places] }
    nonmutating set { (batches + Int(number) % Self.places).initialize(to: newValue) }
  }

  var counts: InboxCounts { InboxCounts(bits: word.pointee.load(ordering: .acquiring)) }

  func set(_ counts: InboxCounts) {
    word.pointee.store(counts.bits, ordering: .relaxed)
  }

  /// One more is posted; returns what was before.
  func notePosted() -> InboxCounts {
    InboxCounts(bits: word.pointee.wrappingAdd(InboxCounts.onePosted, ordering: .acquiringAndReleasing).oldValue)
  }

  /// Changes the word at once; returns what it is then.
  func change(_ change: (inout InboxCounts) -> Void) -> InboxCounts {
    self.change(from: counts, change).after
  }

  /// Changes the word at once, which is probably `seen`.
  ///
  /// It is not read before: that would fetch its line twice, once for reading and once for writing.
  @inline(__always)
  func change<Answer>(
    from seen: InboxCounts, _ change: (inout InboxCounts) -> Answer
  ) -> (answer: Answer, after: InboxCounts) {
    var seen = seen
    while true {
      var next = seen
      let answer = change(&next)
      if next == seen { return (answer, next) }
      let (exchanged, original) = word.pointee.compareExchange(
        expected: seen.bits, desired: next.bits, ordering: .acquiringAndReleasing)
      if exchanged { return (answer, next) }
      seen = InboxCounts(bits: original)
    }
  }

  /// Fetches the word's line for writing while those of a place come too: the exchange would wait for one after the other.
  func claim() {
    (UnsafeMutableRawPointer(word) + MemoryLayout<UInt64>.size).storeBytes(of: 0, as: UInt64.self)
  }
}
