import Synchronization

/// How many messages of each partition are in memory or being written, and who waits until there are none.
final class LogHoldings: Sendable {
  private struct Waiter {
    let partitions: Set<LogPartition>
    let continuation: CheckedContinuation<Void, any Error>
  }

  private struct State {
    var held: [LogPartition: Int] = [:]
    var waiters: [Int: Waiter] = [:]
    var lastWaiter = 0

    func isSettled(_ partitions: Set<LogPartition>) -> Bool {
      partitions.allSatisfy { held[$0] == nil }
    }
  }

  private let state = Mutex(State())

  /// Messages were taken from the log.
  func add(_ messages: [LogMessage]) {
    state.withLock { state in
      for message in messages { state.held[message.partition, default: 0] += 1 }
    }
  }

  /// What is to become of messages is decided, and the log has been told.
  func remove(_ messages: [LogMessage]) {
    let woken = state.withLock { state -> [Waiter] in
      var hasEmptied = false
      for message in messages {
        guard let count = state.held[message.partition] else { continue }
        state.held[message.partition] = count > 1 ? count - 1 : nil
        hasEmptied = hasEmptied || count == 1
      }
      guard hasEmptied else { return [] }
      let settled = state.waiters.filter { state.isSettled($0.value.partitions) }
      for id in settled.keys { state.waiters[id] = nil }
      return Array(settled.values)
    }
    for waiter in woken { waiter.continuation.resume() }
  }

  /// Waits until nothing of these partitions is held.
  ///
  /// - Throws: `CancellationError`.
  func settled(_ partitions: Set<LogPartition>) async throws {
    let id = state.withLock { state in
      state.lastWaiter += 1
      return state.lastWaiter
    }
    try await withTaskCancellationHandler {
      try await withCheckedThrowingContinuation { continuation in
        let result = state.withLock { state -> Result<Void, any Error>? in
          if state.isSettled(partitions) { return .success(()) }
          // The flag is set before the handler below runs, so either sees the other.
          if Task.isCancelled { return .failure(CancellationError()) }
          state.waiters[id] = Waiter(partitions: partitions, continuation: continuation)
          return nil
        }
        if let result { continuation.resume(with: result) }
      }
    } onCancel: {
      let waiter = state.withLock { $0.waiters.removeValue(forKey: id) }
      waiter?.continuation.resume(throwing: CancellationError())
    }
  }

  /// All messages that are held.
  var count: Int { state.withLock { $0.held.values.reduce(0, +) } }
}
