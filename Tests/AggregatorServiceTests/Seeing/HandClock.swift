import AggregatorService
import Synchronization

/// A clock whose hands the test turns.
final class HandClock: Sendable {
  private let time = Mutex(Duration.zero)

  /// What meters see; it began at 1,000,000 s since 1970.
  var clock: MeterClock {
    MeterClock(beginning: 1_000_000) { self.time.withLock { $0 } }
  }

  func advance(by duration: Duration) {
    time.withLock { $0 += duration }
  }
}
