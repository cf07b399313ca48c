import Dispatch
import HeapModule
import Synchronization

/// The continuous clock, with sleeps that leave nothing behind when they are cancelled.
///
/// `Task.sleep` hands its task to a timer that the runtime keeps until its time has come, whether it was cancelled or not: 0.7 KiB. A
/// time limit for each write or request, which hardly ever is reached, would so hold those of the last 30 seconds in memory. Here all
/// sleeps share one timer. For whatever sleeps often and mostly in vain; others may as well use `Task.sleep`.
package struct AlarmClock: Clock {
  package typealias Instant = ContinuousClock.Instant

  private static let alarms = Alarms()

  package init() {}

  package var now: Instant { ContinuousClock.now }
  package var minimumResolution: Duration { ContinuousClock().minimumResolution }

  package func sleep(until deadline: Instant, tolerance: Duration? = nil) async throws {
    try await Self.alarms.wait(until: deadline)
  }
}

/// Tasks that sleep, and the one timer that wakes them.
final class Alarms: Sendable {
  private struct Alarm: Comparable {
    let deadline: ContinuousClock.Instant
    let id: Int

    static func < (one: Alarm, other: Alarm) -> Bool { one.deadline < other.deadline }
  }

  private struct State {
    /// Those of cancelled sleeps stay until they are more than the others.
    var alarms = Heap<Alarm>()
    var sleepers: [Int: UnsafeContinuation<Bool, Never>] = [:]
    /// Cancelled before they slept.
    var cancelled: Set<Int> = []
    var nextID = 0
    /// When the timer will ring, if it will.
    var rings: ContinuousClock.Instant?
  }

  private let state = Mutex(State())
  // Unsafe because Dispatch's protocols do not say that they are Sendable; its objects are, and this is only armed under the lock.
  private nonisolated(unsafe) let timer = DispatchSource.makeTimerSource(queue: DispatchQueue(label: "alarms"))

  init() {
    timer.setEventHandler { [weak self] in self?.ring() }
    timer.activate()
  }

  deinit {
    timer.cancel()
  }

  /// How many sleep, and how many alarms are kept for them.
  var count: (sleepers: Int, alarms: Int) { state.withLock { ($0.sleepers.count, $0.alarms.count) } }

  /// Cancellations of sleeps that are not over; for tests.
  var cancelledEarly: Int { state.withLock { $0.cancelled.count } }

  /// Suspends until it is `deadline`; never returns before.
  ///
  /// - Throws: `CancellationError` when the task is cancelled meanwhile.
  func wait(until deadline: ContinuousClock.Instant) async throws {
    let id = state.withLock { state in
      state.nextID += 1
      return state.nextID
    }
    let isTime = await withTaskCancellationHandler {
      await withUnsafeContinuation { continuation in
        let wasCancelled = state.withLock { state in
          if state.cancelled.remove(id) != nil { return true }
          state.sleepers[id] = continuation
          state.alarms.insert(Alarm(deadline: deadline, id: id))
          if state.rings.map({ deadline < $0 }) ?? true { set(deadline, &state) }
          return false
        }
        if wasCancelled { continuation.resume(returning: false) }
      }
    } onCancel: {
      cancel(id)
    }
    // It may have been cancelled when it had been woken: then nobody was there any more.
    if isTime { state.withLock { _ = $0.cancelled.remove(id) } }
    guard isTime else { throw CancellationError() }
  }

  private func cancel(_ id: Int) {
    let sleeper = state.withLock { state in
      let sleeper = state.sleepers.removeValue(forKey: id)
      if sleeper == nil { state.cancelled.insert(id) }
      if state.alarms.count > 2 * state.sleepers.count + 64 {
        state.alarms = Heap(state.alarms.unordered.filter { state.sleepers[$0.id] != nil })
      }
      return sleeper
    }
    sleeper?.resume(returning: false)
  }

  private func set(_ deadline: ContinuousClock.Instant, _ state: inout State) {
    state.rings = deadline
    // What lies further ahead than a day is looked at again then.
    let left = min(max(deadline - .now, .zero), .seconds(86_400))
    timer.schedule(deadline: .now() + .nanoseconds(Int(left / .nanoseconds(1)) + 1), leeway: .nanoseconds(0))
  }

  private func ring() {
    let woken = state.withLock { state in
      state.rings = nil
      var woken: [UnsafeContinuation<Bool, Never>] = []
      while let first = state.alarms.min {
        if state.sleepers[first.id] != nil {
          guard first.deadline <= .now else {
            set(first.deadline, &state)
            break
          }
          if let sleeper = state.sleepers.removeValue(forKey: first.id) { woken.append(sleeper) }
        }
        state.alarms.removeMin()
      }
      return woken
    }
    for sleeper in woken { sleeper.resume(returning: true) }
  }
}
