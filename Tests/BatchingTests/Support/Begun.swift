import BatchingTesting

/// An operation that has been begun: it has run up to where it first waits.
///
/// That makes the order of things certain: when `Begun { try await aggregator.flush() }` is made, the flush is under way.
/// Who waits for its end and is cancelled cancels it, so that no test outlives its time limit.
struct Begun<Success: Sendable>: Sendable {
  private let task: Task<Success, any Error>
  private let isFinished: Watched<Bool>

  init(_ operation: @escaping @Sendable () async throws -> Success) {
    let isFinished = Watched(false)
    self.isFinished = isFinished
    task = Task.immediate {
      defer { isFinished.change { $0 = true } }
      return try await operation()
    }
  }

  /// The result if the operation is over.
  var hasEnded: Bool { isFinished.current }

  var wasCancelled: Bool { task.isCancelled }

  func cancel() { task.cancel() }

  var value: Success {
    get async throws { try await result.get() }
  }

  var result: Result<Success, any Error> {
    get async {
      await withTaskCancellationHandler {
        await task.result
      } onCancel: {
        task.cancel()
      }
    }
  }

  /// The error that it ended with.
  var error: (any Error)? {
    get async {
      if case .failure(let error) = await result { error } else { nil }
    }
  }
}
