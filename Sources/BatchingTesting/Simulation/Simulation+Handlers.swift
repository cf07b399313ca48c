import Batching

/// How one handler call goes wrong; the text is for the trace.
private enum Mishap: String, CaseIterable {
  case none
  case slow = "takes its time"
  case errorBefore = "fails before the handler is called"
  case errorAfter = "fails after the handler has done its work"
  case partialFailure = "fails for a part of the batch"
  case hang = "hangs"
  case ignoredCancellation = "takes no notice of a cancellation"

  var fault: Faults {
    switch self {
    case .none: .none
    case .slow: .slowHandlers
    case .errorBefore: .errorsBefore
    case .errorAfter: .errorsAfter
    case .partialFailure: .partialFailures
    case .hang: .hangs
    case .ignoredCancellation: .ignoredCancellations
    }
  }
}

extension Simulation {
  /// The handler, with faults before, in and after it, and with each call audited.
  func surround<Message>(
    _ handler: @escaping @Sendable (Batch<Message>) async throws -> Void, _ audit: Audit<Message>
  ) -> @Sendable (Batch<Message>) async throws -> Void {
    { batch in
      let call = self.nextCall()
      audit.callBegan(call, batch)
      do {
        try await withTaskCancellationHandler {
          try await self.call(handler, with: batch, call)
        } onCancel: {
          audit.callCancelled(call)
        }
        audit.callEnded(call, nil)
      } catch {
        audit.callEnded(call, error)
        throw error
      }
    }
  }

  /// The failure handler, which may take its time, with each call audited.
  func surround<Message>(
    _ onFailure: (@Sendable (BatchFailure<Message>) async -> Void)?, _ audit: Audit<Message>
  ) -> @Sendable (BatchFailure<Message>) async -> Void {
    { failure in
      audit.failureBegan(failure, isCancelled: Task.isCancelled)
      if self.faults.contains(.slowFailureHandlers) { await self.pause() }
      await onFailure?(failure)
      audit.failureEnded(failure, isCancelled: Task.isCancelled)
    }
  }

  private func call<Message>(
    _ handler: @Sendable (Batch<Message>) async throws -> Void, with batch: Batch<Message>, _ call: Int
  ) async throws {
    // Every other call goes well, or things would never get on.
    let mishap = chance(0.5) ? .none : Mishap.allCases[random(in: 0...(Mishap.allCases.count - 1))]
    guard mishap != .none, faults.contains(mishap.fault) else { return try await handler(batch) }
    trace(.note, call, "call \(call) \(mishap.rawValue)")
    switch mishap {
    case .none, .slow:
      try await sleep()
      try await handler(batch)
      try await sleep()
    case .errorBefore:
      await pause()
      throw error(of: call)
    case .errorAfter:
      try await handler(batch)
      throw error(of: call)
    case .partialFailure:
      try await failPartly(handler, with: batch, call)
    case .hang:
      try await clock.sleep(for: .seconds(3600))
      throw error(of: call)
    case .ignoredCancellation:
      await sleepIgnoringCancellation(for: .milliseconds(random(in: 0...40)))
      if chance(0.3) { throw error(of: call) }
      try await handler(batch)
    }
  }

  private func sleep() async throws {
    try await clock.sleep(for: .milliseconds(random(in: 0...12)))
  }

  /// Hands the handler what does not fail, and reports the rest.
  private func failPartly<Message>(
    _ handler: @Sendable (Batch<Message>) async throws -> Void, with batch: Batch<Message>, _ call: Int
  ) async throws {
    var failures: [Int: any Error] = [:]
    for offset in batch.indices where chance(0.4) { failures[offset] = error(of: call) }
    let others = batch.indices.filter { failures[$0] == nil }.map { batch[$0] }
    if !others.isEmpty {
      try await handler(
        Batch(
          messages: others, trigger: batch.trigger, attempt: batch.attempt, sequenceNumber: batch.sequenceNumber))
    }
    // One that nobody has sent makes the whole attempt fail.
    if chance(0.1) { failures[batch.count] = error(of: call) }
    if !failures.isEmpty { throw PartialBatchFailure(failures) }
  }

  private func error(of call: Int) -> any Error {
    switch random(in: 0...3) {
    case 0:
      let delay: Duration? = chance(0.5) ? .milliseconds(random(in: 0...60)) : nil
      return SimulatedAdvice(call: call, isRetryable: true, retryAfter: delay)
    case 1: return SimulatedAdvice(call: call, isRetryable: false, retryAfter: nil)
    default: return SimulatedError(call: call)
    }
  }

  /// A child of its own would be cancelled too, so this is a task apart, on the same executor.
  private func sleepIgnoringCancellation(for duration: Duration) async {
    let clock = clock
    await Task(executorPreference: executor) { try? await clock.sleep(for: duration) }.value
  }
}
