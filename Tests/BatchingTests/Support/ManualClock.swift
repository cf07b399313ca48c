/// A clock that stands still until a test advances it.
///
/// It tells when somebody sleeps on it, so that a test advances it only then, and counts how often it was used.
final class ManualClock: Clock, Sendable {
  struct Instant: InstantProtocol {
    var offset: Duration

    func advanced(by duration: Duration) -> Instant { Instant(offset: offset + duration) }
    func duration(to other: Instant) -> Duration { other.offset - offset }
    static func < (left: Instant, right: Instant) -> Bool { left.offset < right.offset }
  }

  private struct State {
    var now = Instant(offset: .zero)
    var sleepers: [Int: Instant] = [:]
    var sleepCalls = 0
    var nowReads = 0
  }

  private let state = Watched(State())

  // MARK: - What the code under test sees

  var now: Instant {
    state.change {
      $0.nowReads += 1
      return $0.now
    }
  }

  var minimumResolution: Duration { .zero }

  func sleep(until deadline: Instant, tolerance: Duration? = nil) async throws {
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
  var elapsed: Duration { state.current.now.offset }

  /// Until when those asleep sleep, the earliest first.
  var deadlines: [Duration] { state.current.sleepers.values.map(\.offset).sorted() }

  /// How often `sleep` was called so far.
  var sleepCalls: Int { state.current.sleepCalls }

  /// How often `now` was read so far.
  var nowReads: Int { state.current.nowReads }

  /// Moves the time on and wakes those who are due, the earliest deadline first, ties in the order of falling asleep.
  ///
  /// Who is woken no longer counts as a sleeper when this returns, whether its task has run yet or not.
  func advance(by duration: Duration) {
    advance(to: elapsed + duration)
  }

  func advance(to offset: Duration) {
    let target = Instant(offset: offset)
    precondition(target >= state.current.now, "time does not go back")
    var isDone = false
    while !isDone {
      isDone = state.change { state in
        let next = state.sleepers.min { ($0.value, $0.key) < ($1.value, $1.key) }
        guard let next, next.value <= target else {
          state.now = target
          return true
        }
        state.now = max(state.now, next.value)
        state.sleepers[next.key] = nil
        return false
      }
    }
  }

  /// Returns once at least `count` are asleep.
  func waitForSleepers(count: Int = 1) async throws {
    try await state.wait { $0.sleepers.count >= count }
  }

  /// Returns once somebody sleeps until just that time.
  func waitForSleeper(until offset: Duration) async throws {
    try await state.wait { $0.sleepers.values.contains(Instant(offset: offset)) }
  }

  /// Returns once nobody sleeps.
  func waitForNoSleepers() async throws {
    try await state.wait { $0.sleepers.isEmpty }
  }
}
