/// What one caller waits for.
///
/// The handler prepares it, and it is told when the request is counted as settled, so that a caller that has its answer finds it
/// in the statistics. A caller that was cancelled has gone, and the answer is thrown away.
final class Answer<Response: Sendable>: Sendable {
  private typealias Waiter = UnsafeContinuation<Response, any Error>

  private struct State: ~Copyable {
    var prepared: Result<Response, any Error>?
    var told: Result<Response, any Error>?
    var waiter: UnsafeContinuation<Response, any Error>?
  }

  private let state = Guarded(State())

  /// Says what the caller will be told; `nil` that it is not known after all.
  func prepare(_ result: Result<Response, any Error>?) {
    // What was there before is destroyed outside the lock.
    _ = state.withLock { state in
      let before = state.prepared
      state.prepared = result
      return before
    }
  }

  /// Tells the caller what has been prepared, if something has.
  func tell() {
    tell { $0.prepared }
  }

  /// Tells the caller, unless it has been told before.
  func tell(_ result: Result<Response, any Error>) {
    tell { _ in result }
  }

  private func tell(_ result: (borrowing State) -> Result<Response, any Error>?) {
    let waiting = state.withLock { state -> (UnsafeContinuation<Response, any Error>, Result<Response, any Error>)? in
      guard state.told == nil, let result = result(state) else { return nil }
      state.told = result
      return state.waiter.take().map { ($0, result) }
    }
    if let (waiter, result) = waiting { waiter.resume(with: result) }
  }

  /// Waits until the caller is told.
  func value() async throws -> Response {
    try await withUnsafeThrowingContinuation { (waiter: UnsafeContinuation<Response, any Error>) in
      let told = state.withLock { state in
        if state.told == nil { state.waiter = waiter }
        return state.told
      }
      if let told { waiter.resume(with: told) }
    }
  }
}

/// A request, and who wants to know what comes of it.
struct Call<Request: Sendable, Response: Sendable>: Sendable {
  let request: Request
  let answer: Answer<Response>
}
