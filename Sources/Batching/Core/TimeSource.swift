/// A clock, opened once: times are durations since the aggregator was made.
///
/// Each use of an `any Clock` would open the existential anew and allocate for its instant.
struct TimeSource: Sendable {
  let now: @Sendable () -> Duration
  private let sleepUntil: @Sendable (Duration) async throws -> Void

  init(_ clock: some Clock<Duration>) {
    let origin = clock.now
    if let origin = origin as? ContinuousClock.Instant {
      // The usual one, without the way through its protocol each time.
      now = { origin.duration(to: ContinuousClock.now) }
    } else {
      now = { origin.duration(to: clock.now) }
    }
    sleepUntil = { try await clock.sleep(until: origin.advanced(by: $0), tolerance: nil) }
  }

  /// Sleeps until a time, or throws when the task is cancelled.
  func sleep(until deadline: Duration) async throws {
    // A hundred years stand for "never"; the runtime's own arithmetic does not go much further.
    try await sleepUntil(min(deadline, .seconds(3_155_760_000)))
  }
}
