import Foundation
import Synchronization

/// What wakes a thread that waits; however often it is rung before the thread looks, that is once.
final class Doorbell: Sendable {
  private let semaphore = DispatchSemaphore(value: 0)
  private let isRung = Atomic(false)

  /// Wakes the thread.
  ///
  /// From any thread, also from a callback.
  func ring() {
    if !isRung.exchange(true, ordering: .acquiringAndReleasing) { semaphore.signal() }
  }

  /// Returns when it was rung, or after a time.
  func wait(_ limit: Duration) {
    _ = semaphore.wait(timeout: .now() + .microseconds(Int(limit / .microseconds(1))))
    isRung.store(false, ordering: .releasing)
  }
}
