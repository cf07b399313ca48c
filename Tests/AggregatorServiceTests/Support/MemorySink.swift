import Synchronization

@testable import AggregatorService

/// Keeps what it is given, batch by batch; can be told to fail, and to wait.
final class MemorySink: Sink {
  private struct State {
    var batches: [[String]] = []
    var failure: SinkError?
    var refused: String?
    var isShut = false
    var waiting: [CheckedContinuation<Void, Never>] = []
  }

  private let state = Mutex(State())

  var batches: [[String]] { state.withLock { $0.batches } }
  var waiting: Int { state.withLock { $0.waiting.count } }

  func write(_ messages: [Message]) async throws {
    await withCheckedContinuation { continuation in
      let goesOn = state.withLock { state in
        if state.isShut { state.waiting.append(continuation) }
        return !state.isShut
      }
      if goesOn { continuation.resume() }
    }
    try state.withLock { state in
      if let failure = state.failure { throw failure }
      if messages.contains(where: { $0.body == state.refused }) {
        throw SinkError(description: "a message is refused", isRetryable: false)
      }
      state.batches.append(messages.map(\.body))
    }
  }

  func close() async throws {}

  func fail(_ failure: SinkError?) {
    state.withLock { $0.failure = failure }
  }

  /// Batches with this message are refused for good.
  func refuse(_ body: String) {
    state.withLock { $0.refused = body }
  }

  /// Writes wait until `open()`.
  func shut() {
    state.withLock { $0.isShut = true }
  }

  func open() {
    let waiting = state.withLock { state in
      state.isShut = false
      defer { state.waiting = [] }
      return state.waiting
    }
    for continuation in waiting { continuation.resume() }
  }
}
