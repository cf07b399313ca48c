import Dispatch

/// Where calls that block are made, one after the other, so that no cooperative thread is kept.
struct BlockingQueue: Sendable {
  let queue: DispatchQueue

  init(label: String) {
    queue = DispatchQueue(label: label)
  }

  /// Makes a call, and waits for it.
  ///
  /// A cancellation does not shorten it: calls have time limits of their own.
  func run<Value: Sendable>(_ call: @escaping @Sendable () throws -> Value) async throws -> Value {
    try await withCheckedThrowingContinuation { continuation in
      queue.async { continuation.resume(with: Result(catching: call)) }
    }
  }

  /// The same for what cannot fail.
  func run<Value: Sendable>(_ call: @escaping @Sendable () -> Value) async -> Value {
    await withCheckedContinuation { continuation in
      queue.async { continuation.resume(returning: call()) }
    }
  }
}
