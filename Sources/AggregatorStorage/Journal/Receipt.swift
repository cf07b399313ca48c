import Synchronization

/// Tells the sender of a request what has become of it in the sink.
///
/// It goes into the journal with the request, so that nothing can be missed, and costs nothing when nobody asks any more.
package final class Receipt: Sendable {
  /// What has become of a request.
  package enum Outcome: Sendable {
    /// All of it is in the sink.
    case stored
    /// Some of it, or all, was refused for good, and lies with the dead letters; why the first was.
    case refused(any Error)
    /// The program is about to end; it is in the journal, and will be stored after the next start.
    case left
  }

  private struct State: ~Copyable {
    var outcome: Outcome?
    var waiting: [Int: CheckedContinuation<Outcome?, Never>] = [:]
    var lastWaiter = 0
  }

  private let state = Mutex(State())

  /// Makes a receipt for one request.
  package init() {}

  /// What has become of the request, if it is known.
  package var current: Outcome? { state.withLock { $0.outcome } }

  /// Waits until it is known what has become of the request.
  ///
  /// - Throws: `CancellationError` when the task is cancelled meanwhile; the request goes its way.
  package func outcome() async throws -> Outcome {
    let waiter = state.withLock { state in
      state.lastWaiter += 1
      return state.lastWaiter
    }
    let outcome = await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        let outcome: Outcome?? = state.withLock { state in
          if let outcome = state.outcome { return .some(outcome) }
          // Looked at under the lock: whoever cancels comes before, and is seen, or after, and finds the continuation.
          if Task.isCancelled { return .some(nil) }
          state.waiting[waiter] = continuation
          return nil
        }
        if let outcome { continuation.resume(returning: outcome) }
      }
    } onCancel: {
      let continuation = state.withLock { $0.waiting.removeValue(forKey: waiter) }
      continuation?.resume(returning: nil)
    }
    guard let outcome else { throw CancellationError() }
    return outcome
  }

  /// Says what has become of it; the first word counts.
  func settle(_ outcome: Outcome) {
    let waiting = state.withLock { state in
      if state.outcome == nil { state.outcome = outcome }
      defer { state.waiting = [:] }
      return Array(state.waiting.values)
    }
    for continuation in waiting { continuation.resume(returning: outcome) }
  }
}

/// Who wants to know what becomes of which messages of a journal.
final class Receipts: Sendable {
  private struct Claim {
    let range: ClosedRange<Int64>
    let receipt: Receipt
    var unsettled: Int
    var error: (any Error)?
  }

  private struct State: ~Copyable {
    /// In the order of their ranges, which do not overlap.
    var claims: [Claim] = []
    /// Claims in it that are settled.
    var settled = 0
    var isClosed = false
  }

  private let state = Mutex(State())

  /// Begins to watch messages, which come after all that are watched already.
  func claim(_ range: ClosedRange<Int64>, _ receipt: Receipt) {
    let isClosed = state.withLock { state in
      if !state.isClosed { state.claims.append(Claim(range: range, receipt: receipt, unsettled: range.count)) }
      return state.isClosed
    }
    if isClosed { receipt.settle(.left) }
  }

  /// Forgets those at the end that begin with `sequence` or later: they were not committed.
  func withdraw(from sequence: Int64) {
    state.withLock { state in
      while let last = state.claims.last, last.range.lowerBound >= sequence {
        if last.unsettled == 0 { state.settled -= 1 }
        state.claims.removeLast()
      }
    }
  }

  /// Says that messages, with ascending sequence numbers, are stored, or are refused for the reasons given.
  func settle(_ sequences: some Sequence<Int64>, refused: [Int64: any Error] = [:]) {
    var told: [(Receipt, Receipt.Outcome)] = []
    state.withLock { state in
      guard !state.claims.isEmpty else { return }
      for sequence in sequences {
        guard let index = Self.index(of: sequence, in: state.claims), state.claims[index].unsettled > 0 else {
          continue
        }
        state.claims[index].unsettled -= 1
        if let error = refused[sequence], state.claims[index].error == nil { state.claims[index].error = error }
        if state.claims[index].unsettled == 0 {
          state.settled += 1
          let claim = state.claims[index]
          told.append((claim.receipt, claim.error.map { .refused($0) } ?? .stored))
        }
      }
      // Now and then, so that each is moved a few times at most.
      if state.settled > 64 + state.claims.count / 2 {
        state.claims.removeAll { $0.unsettled == 0 }
        state.settled = 0
      } else if state.settled == state.claims.count {
        state.claims.removeAll(keepingCapacity: true)
        state.settled = 0
      }
    }
    for (receipt, outcome) in told { receipt.settle(outcome) }
  }

  private static func index(of sequence: Int64, in claims: [Claim]) -> Int? {
    var low = 0
    var high = claims.count
    while low < high {
      let middle = (low + high) / 2
      if claims[middle].range.upperBound < sequence { low = middle + 1 } else { high = middle }
    }
    return low < claims.count && claims[low].range.contains(sequence) ? low : nil
  }

  /// Tells all that wait, and all that come, that their messages are left in the journal.
  func close() {
    let left = state.withLock { state in
      state.isClosed = true
      defer { state.claims = [] }
      return state.claims.filter { $0.unsettled > 0 }
    }
    for claim in left { claim.receipt.settle(.left) }
  }
}
