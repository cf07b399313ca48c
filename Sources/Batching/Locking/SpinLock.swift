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
@usableFromInline
struct SpinLock: ~Copyable {
  @usableFromInline let word = Atomic<UInt32>(0)

  @inlinable
  init() {}

  @inlinable
  @inline(__always)
  borrowing func lock() {
    if !word.compareExchange(expected: 0, desired: 1, successOrdering: .acquiring, failureOrdering: .relaxed).exchanged
    {
      lockSlowly()
    }
  }

  /// The same for a slot, which takes it once a batch: it stays away a quarter as long, so that small batches do not pile up.
  @inline(__always)
  borrowing func lockSoon() {
    if !word.compareExchange(expected: 0, desired: 1, successOrdering: .acquiring, failureOrdering: .relaxed).exchanged
    {
      lockSlowly(looks: Self.spins / 4, rounds: Self.spinningRounds * 4)
    }
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
    word.store(0, ordering: .releasing)
  }

  @usableFromInline
  @inline(never)
  borrowing func lockSlowly() {
    lockSlowly(looks: Self.spins, rounds: Self.spinningRounds)
  }

  @inline(never)
  private borrowing func lockSlowly(looks: Int, rounds: Int) {
    var round = 0
    repeat {
      if round < rounds {
        Self.stayAway(looks: looks)
      } else if round < rounds + Self.yieldingRounds {
        sched_yield()
      } else {
        usleep(Self.napMicroseconds)
      }
      round += 1
    } while word.load(ordering: .relaxed) != 0
      || !word.compareExchange(expected: 0, desired: 1, successOrdering: .acquiring, failureOrdering: .relaxed)
        .exchanged
  }

  /// Lets a microsecond or two pass, away from the lock's cache line: looking at it would take it from the owner each time.
  static func stayAway() { stayAway(looks: spins) }

  /// The same for a time of choice: four looks are a nanosecond or so.
  ///
  /// (A local would do to look at, were it not that the optimiser removes it, and the waiting with it.)
  static func stayAway(looks: Int) {
    for _ in 0..<looks { _ = elsewhere.load(ordering: .relaxed) }
  }

  /// How many looks that takes.
  ///
  /// Without the optimiser, and more so under ThreadSanitizer, each look costs a hundred times as much.
  private static var spins: Int {
    #if DEBUG
      64
    #else
      4096
    #endif
  }
  private static var spinningRounds: Int { 4 }
  private static var yieldingRounds: Int { 16 }
  private static var napMicroseconds: UInt32 { 50 }
}
