import Foundation

/// A value behind a lock whose changes can be awaited: every wait of this module is made of it.
///
/// A wait ends by an event, never by polling. One that is cancelled throws, so that a test that hangs is ended by its
/// time limit instead of holding up the whole run. `NSLock` and not `Mutex`, whose slow path ThreadSanitizer does not see.
///
/// `@unchecked Sendable` because all that varies is touched under `lock` alone.
package final class Watched<Value: Sendable>: @unchecked Sendable {
  private struct Waiter {
    let id: Int
    let condition: @Sendable (Value) -> Bool
    let continuation: CheckedContinuation<Void, any Error>
  }

  private let lock = NSLock()
  private var value: Value
  private var waiters: [Waiter] = []
  private var lastID = 0

  package init(_ value: Value) {
    self.value = value
  }

  package var current: Value { lock.withLock { value } }

  /// Changes the value, then wakes those whose condition now holds, in the order in which they came.
  @discardableResult
  package func change<Result>(_ body: (inout Value) -> Result) -> Result {
    let (result, woken) = lock.withLock {
      let result = body(&value)
      guard !waiters.isEmpty else { return (result, [Waiter]()) }
      let woken = waiters.filter { $0.condition(value) }
      if !woken.isEmpty {
        let ids = Set(woken.map(\.id))
        waiters.removeAll { ids.contains($0.id) }
      }
      return (result, woken)
    }
    for waiter in woken { waiter.continuation.resume() }
    return result
  }

  /// Returns once the condition holds; throws `CancellationError` when the task is cancelled before.
  package func wait(until condition: @escaping @Sendable (Value) -> Bool) async throws {
    let id = makeID()
    try await withTaskCancellationHandler {
      try await enqueue(id: id, isCancellable: true, condition)
    } onCancel: {
      let waiter = lock.withLock { () -> Waiter? in
        guard let index = waiters.firstIndex(where: { $0.id == id }) else { return nil }
        return waiters.remove(at: index)
      }
      waiter?.continuation.resume(throwing: CancellationError())
    }
  }

  /// Returns once the condition holds, in a cancelled task too.
  package func waitIgnoringCancellation(until condition: @escaping @Sendable (Value) -> Bool) async {
    // Only a cancelled wait throws, and this one cannot be.
    try? await enqueue(id: makeID(), isCancellable: false, condition)
  }

  private func makeID() -> Int {
    lock.withLock {
      lastID += 1
      return lastID
    }
  }

  private func enqueue(
    id: Int, isCancellable: Bool, _ condition: @escaping @Sendable (Value) -> Bool
  ) async throws {
    try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
      let outcome: Result<Void, any Error>? = lock.withLock {
        if condition(value) { return .success(()) }
        // Under the lock: the flag is set before cancellation handlers run, so that none is missed.
        if isCancellable, Task.isCancelled { return .failure(CancellationError()) }
        waiters.append(Waiter(id: id, condition: condition, continuation: continuation))
        return nil
      }
      if let outcome { continuation.resume(with: outcome) }
    }
  }
}
