package import AggregatorStorage
import Synchronization

/// Keeps what it is given, batch by batch; can be told to fail, and to wait.
package final class MemorySink: Sink {
  private struct State {
    var batches: [[String]] = []
    var failure: SinkError?
    var refused: String?
    var isShut = false
    var waiting: [CheckedContinuation<Void, Never>] = []
  }

  private let state = Mutex(State())

  package init() {}

  package var batches: [[String]] { state.withLock { $0.batches } }
  package var waiting: Int { state.withLock { $0.waiting.count } }

  package func write(_ messages: [Message], to stream: StreamName) async throws {
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

  package func check() async throws {
    if let failure = state.withLock({ $0.failure }) { throw failure }
  }

  package func close() async throws {}

  package func fail(_ failure: SinkError?) {
    state.withLock { $0.failure = failure }
  }

  /// Batches with this message are refused for good.
  package func refuse(_ body: String) {
    state.withLock { $0.refused = body }
  }

  /// Writes wait until `open()`.
  package func shut() {
    state.withLock { $0.isShut = true }
  }

  package func open() {
    let waiting = state.withLock { state in
      state.isShut = false
      defer { state.waiting = [] }
      return state.waiting
    }
    for continuation in waiting { continuation.resume() }
  }
}
