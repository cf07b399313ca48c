import AggregatorStorage
import Synchronization

/// What the tasks that use a consumer and its thread have in common.
final class ConsumerState: Sendable {
  /// How a consumer ends.
  enum Ending: Sendable {
    case goesOn, closing, vanishing
  }

  /// Somebody waits for messages.
  private struct Demand {
    let id: UInt64
    let limit: Int
    let continuation: CheckedContinuation<[LogMessage], any Error>
  }

  private struct State {
    var assignment = Assignment()
    var demands: [Demand] = []
    var lastID: UInt64 = 0
    /// Demands that were cancelled before they were there.
    var cancelled: Set<UInt64> = []
    var failure: ProgramError?
    var isStopped = false
    var ending = Ending.goesOn
    var lag = LogLag()
    var committed: [LogPartition: Int64] = [:]
  }

  private let state = Mutex(State())
  /// Wakes the thread.
  let bell = Doorbell()
  /// The client is gone.
  let end = Occurrence()

  // MARK: For the tasks

  /// Waits for messages.
  func next(atMost limit: Int) async throws -> [LogMessage] {
    let id = state.withLock { state in
      state.lastID += 1
      return state.lastID
    }
    // Of a cancellation that came too late.
    defer { state.withLock { _ = $0.cancelled.remove(id) } }
    return try await withTaskCancellationHandler {
      try await withCheckedThrowingContinuation { continuation in
        let answer = state.withLock { state -> Result<[LogMessage], any Error>? in
          if state.cancelled.remove(id) != nil { return .failure(CancellationError()) }
          if let failure = state.failure { return .failure(failure) }
          if state.isStopped || limit < 1 { return .success([]) }
          state.demands.append(Demand(id: id, limit: limit, continuation: continuation))
          return nil
        }
        if let answer { continuation.resume(with: answer) } else { bell.ring() }
      }
    } onCancel: {
      let demand = state.withLock { state -> Demand? in
        guard let index = state.demands.firstIndex(where: { $0.id == id }) else {
          state.cancelled.insert(id)
          return nil
        }
        return state.demands.remove(at: index)
      }
      demand?.continuation.resume(throwing: CancellationError())
    }
  }

  func withAssignment<Result>(_ body: (inout Assignment) -> sending Result) -> sending Result {
    state.withLock { body(&$0.assignment) }
  }

  func stop() {
    endDemands { $0.isStopped = true }
  }

  func close() {
    endDemands { state in
      state.isStopped = true
      if state.ending == .goesOn { state.ending = .closing }
    }
  }

  func vanish() {
    endDemands { state in
      state.isStopped = true
      state.ending = .vanishing
    }
  }

  private func endDemands(_ change: (inout State) -> Void) {
    let (demands, failure) = state.withLock { state in
      change(&state)
      defer { state.demands = [] }
      return (state.demands, state.failure)
    }
    for demand in demands {
      if let failure {
        demand.continuation.resume(throwing: failure)
      } else {
        demand.continuation.resume(returning: [])
      }
    }
    bell.ring()
  }

  var lag: LogLag { state.withLock { $0.lag } }
  var committed: [LogPartition: Int64] { state.withLock { $0.committed } }

  // MARK: For the thread

  var ending: Ending { state.withLock { $0.ending } }

  /// How many messages the first in line wants; `nil` when nobody does.
  var wanted: Int? { state.withLock { $0.demands.first?.limit } }

  /// Nobody can be served any more.
  func fail(_ failure: ProgramError) {
    endDemands { state in
      state.failure = state.failure ?? failure
    }
  }

  /// Hands messages to the first in line; they wait for the next where nobody is there any more.
  func handOut(_ messages: [LogMessage]) {
    let (demand, given) = state.withLock { state -> (Demand?, [LogMessage]) in
      let given = state.assignment.handOut(messages)
      guard !given.isEmpty else { return (nil, []) }
      guard let demand = state.demands.first, demand.limit >= given.count else {
        state.assignment.putBack(given)
        return (nil, [])
      }
      state.demands.removeFirst()
      state.assignment.count(given)
      return (demand, given)
    }
    demand?.continuation.resume(returning: given)
  }

  /// The coordinator has taken these.
  func succeeded(_ commits: [Assignment.Commit]) {
    state.withLock { state in
      for commit in commits {
        state.assignment.succeeded(commit)
        state.committed[commit.partition] = commit.offset
      }
    }
  }

  /// Sets what can be seen, given how far each partition goes.
  func show(ends: [Assignment.Place: Int64]) {
    state.withLock { state in
      state.lag.messages = state.assignment.lag(ends: ends)
      state.lag.behind = state.assignment.behind(ends: ends)
      state.lag.assigned = state.assignment.names
      state.lag.redelivered = state.assignment.redelivered
    }
  }
}
