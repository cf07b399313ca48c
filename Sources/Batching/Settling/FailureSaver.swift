import DequeModule

/// Calls the failure handler where no cancellation reaches it.
///
/// Saving a dead letter has to work in a cancelled `run()` too, and a child task cannot be shielded from its parent's
/// cancellation. So the calls are made in an unstructured task: one for each run, begun at the first failure and awaited at
/// the end. The calls in it run side by side, so a slow one holds up only its own batch, but no more at once than there are
/// slots.
final class FailureSaver: Sendable {
  typealias Job = @Sendable () async -> Void

  private struct State: ~Copyable {
    var jobs: Deque<Job> = []
    var waiter: UnsafeContinuation<Void, Never>?
    var task: Task<Void, Never>?
    var isFinishing = false
  }

  private enum Step { case start(Job), waitForOne, park, end }

  private let state = Guarded(State())
  private let executor: (any TaskExecutor)?
  private let concurrency: @Sendable () -> Int

  /// Makes a saver whose task runs where `run()` does.
  ///
  /// - Parameters:
  ///   - executor: Where the task of `run()` prefers to run; an unstructured task does not inherit that.
  ///   - concurrency: The most calls at once.
  init(executor: (any TaskExecutor)?, concurrency: @escaping @Sendable () -> Int) {
    self.executor = executor
    self.concurrency = concurrency
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
    await withTaskGroup { group in
      var running = 0
      while true {
        let concurrency = concurrency()
        let step: Step = state.withLock { state in
          guard !state.jobs.isEmpty else { return state.isFinishing ? .end : .park }
          return running < concurrency ? .start(state.jobs.removeFirst()) : .waitForOne
        }
        switch step {
        case .start(let job):
          running += 1
          group.addTask { await job() }
        case .waitForOne:
          await group.next()
          running -= 1
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
