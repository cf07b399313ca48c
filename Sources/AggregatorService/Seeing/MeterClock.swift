/// The time since the program began, as meters see it: a test turns its hands itself.
package struct MeterClock: Sendable {
  /// The time since the beginning; it never goes back.
  let now: @Sendable () -> Duration
  /// When the beginning was, in seconds since 1970-01-01 UTC.
  let beginning: Double

  /// Makes a clock that shows what `now` returns.
  package init(beginning: Double, now: @escaping @Sendable () -> Duration) {
    self.beginning = beginning
    self.now = now
  }

  /// A clock that begins now, which is `wallClock` seconds since 1970-01-01 UTC.
  ///
  /// That is said once: a wall clock that is set meanwhile would make times of batches jump.
  package static func starting(at wallClock: Double) -> MeterClock {
    let start = ContinuousClock.now
    return MeterClock(beginning: wallClock) { start.duration(to: .now) }
  }
}

extension Duration {
  /// In seconds.
  var seconds: Double { Double(components.seconds) + Double(components.attoseconds) * 1e-18 }

  /// In milliseconds.
  var milliseconds: Double { seconds * 1_000 }
}
