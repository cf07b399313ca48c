/// A clock that stands still until a test advances it.
///
/// Give it to an aggregator as its `clock`. It tells when somebody sleeps on it, so that a test advances it only then, and
/// counts how often it was used.
///
/// ```swift
/// let clock = ManualClock()
/// let aggregator = try Aggregator<Int>(configuration: .init(linger: .seconds(1)), clock: clock) { batch in … }
/// async let running: Void = aggregator.run()
/// try await aggregator.send(1)
/// try await clock.waitForSleeper(until: .seconds(1))   // the aggregator sleeps for its linger
/// clock.advance(by: .seconds(1))                       // now the batch is due
/// ```
public final class ManualClock: Clock, Sendable {
  /// A time on a manual clock.
  public struct Instant: InstantProtocol {
    /// How long after the making of the clock.
    public var offset: Duration

    /// Makes a time that lies `offset` after the making of the clock.
    public init(offset: Duration) {
      self.offset = offset
    }

    /// The time that is later by `duration`.
    public func advanced(by duration: Duration) -> Instant { Instant(offset: offset + duration) }

    /// How much later `other` is.
    public func duration(to other: Instant) -> Duration { other.offset - offset }

    /// Whether the left one is earlier.
    public static func < (left: Instant, right: Instant) -> Bool { left.offset < right.offset }
  }

  private struct State {
    var now = Instant(offset: .zero)
    var sleepers: [Int: Instant] = [:]
    var sleepCalls = 0
    var nowReads = 0

    /// Wakes the one who is due first, ties in the order of falling asleep, if it is due by then.
    mutating func wakeFirst(dueBy limit: Instant?) -> Bool {
      let first = sleepers.min { ($0.value, $0.key) < ($1.value, $1.key) }
      guard let first, limit.map({ first.value <= $0 }) ?? true else { return false }
      now = max(now, first.value)
      sleepers[first.key] = nil
      return true
    }
  }

  private let state = Watched(State())

  /// Makes a clock that shows zero.
  public init() {}

  // MARK: - What the code under test sees

  /// The time.
  public var now: Instant {
    state.change {
      $0.nowReads += 1
      return $0.now
    }
  }

  /// Zero: it has no smallest step.
  public var minimumResolution: Duration { .zero }

  /// Sleeps until the clock has been advanced to `deadline`, however small the `tolerance`.
  ///
  /// - Throws: `CancellationError` when the task is cancelled before.
  public func sleep(until deadline: Instant, tolerance: Duration? = nil) async throws {
    let id = state.change {
      $0.sleepCalls += 1
      if deadline > $0.now { $0.sleepers[$0.sleepCalls] = deadline }
      return $0.sleepCalls
    }
    defer { state.change { $0.sleepers[id] = nil } }
    try Task.checkCancellation()
    try await state.wait { $0.sleepers[id] == nil }
  }

  // MARK: - What the test sees; offsets count from the clock's making

  /// The time, without counting as a reading of the clock.
  public var elapsed: Duration { state.current.now.offset }

  /// Until when those asleep sleep, the earliest first.
  public var deadlines: [Duration] { state.current.sleepers.values.map(\.offset).sorted() }

  /// How often `sleep` was called so far.
  public var sleepCalls: Int { state.current.sleepCalls }

  /// How often `now` was read so far.
  public var nowReads: Int { state.current.nowReads }

  /// Moves the time on and wakes those who are due, the earliest deadline first, ties in the order of falling asleep.
  ///
  /// Who is woken no longer counts as a sleeper when this returns, whether its task has run yet or not.
  public func advance(by duration: Duration) {
    advance(to: elapsed + duration)
  }

  /// Moves the time on to `offset` after the making of the clock; it must not lie in the past.
  public func advance(to offset: Duration) {
    let target = Instant(offset: offset)
    precondition(target >= state.current.now, "time does not go back")
    while state.change({ $0.wakeFirst(dueBy: target) }) {}
    state.change { $0.now = target }
  }

  /// Moves the time on to the earliest deadline and wakes all who sleep until then.
  ///
  /// - Returns: Whether there was one.
  @discardableResult
  public func advanceToNextDeadline() -> Bool {
    guard let next = deadlines.first else { return false }
    advance(to: next)
    return true
  }

  /// Returns once at least `count` are asleep.
  ///
  /// - Throws: `CancellationError` when the task is cancelled before.
  public func waitForSleepers(count: Int = 1) async throws {
    try await state.wait { $0.sleepers.count >= count }
  }

  /// Returns once somebody sleeps until just that time.
  ///
  /// - Throws: `CancellationError` when the task is cancelled before.
  public func waitForSleeper(until offset: Duration) async throws {
    try await state.wait { $0.sleepers.values.contains(Instant(offset: offset)) }
  }

  /// Returns once nobody sleeps.
  ///
  /// - Throws: `CancellationError` when the task is cancelled before.
  public func waitForNoSleepers() async throws {
    try await state.wait { $0.sleepers.isEmpty }
  }
}
