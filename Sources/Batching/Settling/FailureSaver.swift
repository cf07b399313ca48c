/// Calls the failure handler where no cancellation reaches it.
///
/// Saving a dead letter has to work in a cancelled `run()` too, and a child task cannot be shielded from its parent's
/// cancellation. So the calls are made in an unstructured task: one for each run, begun at the first failure and awaited at
/// the end. The calls in it run side by side, so a slow one holds up only its own batch.
final class FailureSaver: Sendable {
  typealias Job = @Sendable () async -> Void

  private struct State: ~Copyable {
    var jobs: [Job] = []
    var waiter: UnsafeContinuation<Void, Never>?
    var task: Task<Void, Never>?
    var isFinishing = false
  }

  private enum Step { case start([Job]), park, end }

  private let state = Guarded(State())
  private let executor: (any TaskExecutor)?

  /// Makes a saver whose task runs where `run()` does.
  ///
  /// - Parameter executor: Where the task of `run()` prefers to run; an unstructured task does not inherit that.
  init(executor: (any TaskExecutor)?) {
    self.executor = executor
  }

  /// Runs a job in the saver's task, and returns when it is done.
  func run(_ job: @escaping Job) async {
    await withUnsafeContinuation { continuation in
      submit {
        await job()
        continuation.resume()
      }
    }
  }

  /// Runs a job in the saver's task.
  ///
  /// `finish()` waits for it.
  func submit(_ job: @escaping Job) {
    let waiter = state.withLock { state in
      state.jobs.append(job)
      if state.task == nil { state.task = Task(executorPreference: executor) { await self.work() } }
      return state.waiter.take()
    }
    waiter?.resume()
  }

  /// Returns when all jobs are done.
  ///
  /// None may be submitted after it.
  func finish() async {
    let (task, waiter) = state.withLock { state in
      state.isFinishing = true
      return (state.task, state.waiter.take())
    }
    waiter?.resume()
    await task?.value
  }

  private func work() async {
    await withDiscardingTaskGroup { group in
      while true {
        let step: Step = state.withLock { state in
          defer { state.jobs = [] }
          return state.jobs.isEmpty ? (state.isFinishing ? .end : .park) : .start(state.jobs)
        }
        switch step {
        case .start(let jobs):
          for job in jobs { group.addTask { await job() } }
        case .park:
          await withUnsafeContinuation { continuation in
            let mayPark = state.withLock { state in
              guard state.jobs.isEmpty, !state.isFinishing else { return false }
              state.waiter = continuation
              return true
            }
            if !mayPark { continuation.resume() }
          }
        case .end:
          return
        }
      }
    }
  }
}
