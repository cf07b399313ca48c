import Dispatch

/// Runs an actor on a queue of its own, so that its calls of the system, which block, hold up no cooperative thread.
final class QueueExecutor: SerialExecutor {
  let queue: DispatchQueue

  /// Makes one whose threads bear this name.
  init(label: String) {
    queue = DispatchQueue(label: label)
  }

  func enqueue(_ job: consuming ExecutorJob) {
    let job = UnownedJob(job)
    queue.async { job.runSynchronously(on: self.asUnownedSerialExecutor()) }
  }

  /// Lets what the queue itself calls, such as a timer, use `assumeIsolated`.
  func checkIsolated() {
    dispatchPrecondition(condition: .onQueue(queue))
  }
}
