/// Does something, and cancels it when it takes longer than `limit`.
///
/// What it does then counts: it may still return. One that does not heed the cancellation is waited for.
///
/// - Throws: What `work` throws; `TimeLimitExceeded` where that was because its time was up.
func withTimeLimit(_ limit: Duration?, _ work: @escaping @Sendable () async throws -> Void) async throws {
  guard let limit else { return try await work() }
  enum Event: Sendable { case ended(Result<Void, any Error>), timeIsUp }
  try await withTaskGroup(of: Event.self) { group in
    group.addTask {
      do {
        return .ended(.success(try await work()))
      } catch {
        return .ended(.failure(error))
      }
    }
    group.addTask {
      try? await AlarmClock().sleep(for: limit)
      return .timeIsUp
    }
    var isLate = false
    while let event = await group.next() {
      group.cancelAll()
      switch event {
      case .timeIsUp: isLate = !Task.isCancelled
      case .ended(.failure) where isLate: return Result<Void, any Error>.failure(TimeLimitExceeded(limit: limit))
      case .ended(let result): return result
      }
    }
    return .success(())
  }.get()
}

/// Something took too long.
struct TimeLimitExceeded: Error, CustomStringConvertible {
  let limit: Duration

  var description: String { "it took longer than \(limit) and was cancelled" }
}
