import Batching

/// What became of a message.
enum Fate: Sendable, Equatable, CustomStringConvertible {
  case handled
  case failed(any Error)
  case dropped

  static func == (left: Fate, right: Fate) -> Bool {
    switch (left, right) {
    case (.handled, .handled), (.dropped, .dropped): true
    case (.failed(let left), .failed(let right)): left.isSame(as: right)
    default: false
    }
  }

  var description: String {
    switch self {
    case .handled: "handled"
    case .failed(let error): "failed (\(error))"
    case .dropped: "dropped"
    }
  }
}

extension Error {
  /// Whether both are of one type and say the same; of an `AggregatorError`, whether the code is the same.
  func isSame(as other: any Error) -> Bool {
    if let mine = self as? AggregatorError, let theirs = other as? AggregatorError { return mine == theirs }
    return type(of: self) == type(of: other) && "\(self)" == "\(other)"
  }
}

/// Collects the fates of all messages, from a handler and a failure handler that it stands around.
final class FateRecorder<Message: Hashable & Sendable>: Sendable {
  private struct State {
    var fates: [Message: [Fate]] = [:]
    var handled: [Message] = []
    var cancelledFailureCalls = 0
  }

  private let state = Watched(State())

  /// Calls the handler and notes what that means for each message of the batch.
  func record(_ batch: Batch<Message>, _ handler: () async throws -> Void) async throws {
    do {
      try await handler()
      note(.handled, batch.messages)
    } catch let partial as PartialBatchFailure where partial.failures.keys.allSatisfy(batch.indices.contains) {
      note(.handled, batch.indices.filter { partial.failures[$0] == nil }.map { batch[$0] })
      throw partial
    }
  }

  /// Calls the failure handler and notes what that means for each message.
  func record(_ failure: BatchFailure<Message>, _ onFailure: () async -> Void) async {
    let startedCancelled = Task.isCancelled
    await onFailure()
    let wasCancelled = startedCancelled || Task.isCancelled
    state.change { state in
      if wasCancelled { state.cancelledFailureCalls += 1 }
      for item in failure.items {
        let isDrop = (item.error as? AggregatorError) == .dropped
        state.fates[item.message, default: []].append(isDrop ? .dropped : .failed(item.error))
      }
    }
  }

  private func note(_ fate: Fate, _ messages: [Message]) {
    state.change { state in
      state.handled += messages
      for message in messages { state.fates[message, default: []].append(fate) }
    }
  }

  /// Every fate of every message.
  var all: [Message: [Fate]] { state.current.fates }

  /// The fate of each message that has just one.
  var each: [Message: Fate] {
    all.compactMapValues { $0.count == 1 ? $0[0] : nil }
  }

  /// The messages with more than one fate.
  var manifold: [Message: [Fate]] { all.filter { $0.value.count > 1 } }

  /// The messages that were handled, in that order.
  var handled: [Message] { state.current.handled }

  func count(where predicate: (Fate) -> Bool) -> Int {
    all.values.reduce(0) { $0 + $1.count(where: predicate) }
  }

  /// How often a failure handler found itself in a cancelled task.
  var cancelledFailureCalls: Int { state.current.cancelledFailureCalls }
}

extension [Int: [Fate]] {
  /// What a recorder has seen when each of these messages had one fate.
  static func of(
    handled: [Int] = [], dropped: [Int] = [], failed: [Int] = [], because error: any Error = Failure()
  ) -> Self {
    var fates: Self = [:]
    for message in handled { fates[message, default: []].append(.handled) }
    for message in dropped { fates[message, default: []].append(.dropped) }
    for message in failed { fates[message, default: []].append(.failed(error)) }
    return fates
  }
}
