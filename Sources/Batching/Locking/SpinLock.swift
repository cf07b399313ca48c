public import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Something to look at while waiting; nobody writes it.
private let elsewhere = Atomic<UInt32>(0)

/// A test-and-set lock for critical sections of a few nanoseconds.
///
/// Why not `Mutex`: handing a futex to another core costs several times what our critical section does. A thread that
/// finds the lock taken stays away for a while, so that its owner runs on with the cache line in its own core; one that
/// finds it taken again and again gives up its processor, because then the owner has probably been descheduled.
///
/// How long it stays away depends on who has it. A sender has probably more to send and is better left alone for long, while a
/// slot leaves after some hundred nanoseconds and does not come back before it has handled a batch.
@usableFromInline
struct SpinLock: ~Copyable {
  /// Who has it.
  @usableFromInline let word = Atomic<UInt32>(nobody)

  @inlinable static var nobody: UInt32 { 0 }
  /// A sender, or somebody else.
  @inlinable static var somebody: UInt32 { 1 }
  @inlinable static var slot: UInt32 { 2 }

  @inlinable
  init() {}

  @inlinable
  @inline(__always)
  borrowing func lock() {
    let (isMine, owner) = word.compareExchange(
      expected: Self.nobody, desired: Self.somebody, successOrdering: .acquiring, failureOrdering: .relaxed)
    if !isMine { lockSlowly(behind: owner) }
  }

  /// The same for a slot, which takes it once a batch or twice.
  @inline(__always)
  borrowing func lockAsSlot(pause: SlotPause) {
    let (isMine, owner) = word.compareExchange(
      expected: Self.nobody, desired: Self.slot, successOrdering: .acquiring, failureOrdering: .relaxed)
    if !isMine { lockSlowly(behind: owner, as: Self.slot, pause: pause.looks) }
  }

  /// Releases it, after every retain of what was copied under it.
  ///
  /// The fence is for the optimiser. To it no store releases an object, not even an atomic one, so that it puts off a retain until
  /// after the store (`performLocalRetainMotion` in swift's LLVMARCOpts.cpp), when another thread may have let go of the object. It
  /// moves none past a fence, which on x86 is no instruction. `scripts/retains.sh` looks at what became of it.
  @inlinable
  @inline(__always)
  borrowing func unlock() {
    atomicMemoryFence(ordering: .releasing)
    word.store(Self.nobody, ordering: .releasing)
  }

  @usableFromInline
  @inline(never)
  borrowing func lockSlowly(behind owner: UInt32) {
    lockSlowly(behind: owner, as: Self.somebody, pause: Self.spins)
  }

  @inline(never)
  private borrowing func lockSlowly(behind owner: UInt32, as me: UInt32, pause: Int) {
    var owner = owner
    var looks = 0
    var yields = 0
    while owner != Self.nobody {
      if looks < Self.mostLooks {
        let pause = owner == Self.slot ? Self.pauseBehindSlot : pause
        Self.stayAway(looks: pause)
        looks += pause
      } else if yields < Self.mostYields {
        sched_yield()
        yields += 1
      } else {
        usleep(Self.napMicroseconds)
      }
      owner = word.load(ordering: .relaxed)
      if owner == Self.nobody {
        // Whoever it finds instead, if it comes too late.
        owner =
          word.compareExchange(
            expected: Self.nobody, desired: me, successOrdering: .acquiring, failureOrdering: .relaxed
          ).original
      }
    }
  }

  /// Lets three microseconds or four pass, in which slots may come some batches further.
  static func stayAwayLong() { stayAway(looks: 3 * spins) }

  /// Lets a time of choice pass, away from the lock's cache line: looking at it would take it from the owner each time.
  ///
  /// Four looks are a nanosecond or so.
  ///
  /// (A local would do to look at, were it not that the optimiser removes it, and the waiting with it.)
  static func stayAway(looks: Int) {
    for _ in 0..<looks { _ = elsewhere.load(ordering: .relaxed) }
  }

  /// How many looks somebody stays away who finds a sender there: about a microsecond.
  ///
  /// Without the optimiser, and more so under ThreadSanitizer, each look costs a hundred times as much.
  private static var spins: Int {
    #if DEBUG
      64
    #else
      4096
    #endif
  }
  /// How many who finds a slot there, which leaves soon.
  private static var pauseBehindSlot: Int { spins / 8 }
  /// After so many looks the owner has probably been descheduled.
  private static var mostLooks: Int { 4 * spins }
  private static var mostYields: Int { 16 }
  private static var napMicroseconds: UInt32 { 50 }

  /// How long a slot stays away from the lock when a sender has it: less than another sender would, as it has only one thing to say.
  struct SlotPause: Sendable {
    fileprivate let looks: Int

    /// Where batches are small, a sender may fill some of them meanwhile, and is not disturbed for each.
    init(batchesAreSmall: Bool) {
      looks = batchesAreSmall ? SpinLock.spins / 2 : SpinLock.spins / 4
    }
  }
}
