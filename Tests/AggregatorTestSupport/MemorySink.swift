package import AggregatorStorage
import Synchronization

/// Keeps what it is given, batch by batch; can be told to fail, to refuse, and to wait.
package final class MemorySink: Sink {
  /// What was stored by one write.
  package struct Batch: Sendable, Equatable {
    package let stream: StreamName
    package let messages: [Message]
  }

  private struct State {
    var batches: [Batch] = []
    var writes = 0
    var failure: SinkError?
    var failures: [StreamName: SinkError] = [:]
    var failuresLeft = 0
    var refused: Set<String> = []
    var isShut = false
    var waiting: [(bodies: [String], continuation: CheckedContinuation<Void, Never>)] = []
  }

  private let state = Mutex(State())

  package init() {}

  package var batches: [[String]] { state.withLock { $0.batches.map { $0.messages.map(\.body) } } }
  /// The same with streams and identities.
  package var writtenBatches: [Batch] { state.withLock { $0.batches } }
  /// Calls, failed ones included.
  package var writes: Int { state.withLock { $0.writes } }

  /// The messages of a stream, in the order in which they were stored.
  package func stored(_ stream: StreamName) -> [Message] {
    state.withLock { $0.batches.filter { $0.stream == stream }.flatMap(\.messages) }
  }

  package var waiting: Int { state.withLock { $0.waiting.count } }
  /// What the writes hold that wait.
  package var waitingBatches: [[String]] { state.withLock { $0.waiting.map(\.bodies) } }

  package func write(_ messages: [Message], to stream: StreamName) async throws {
    await withCheckedContinuation { continuation in
      let goesOn = state.withLock { state in
        if state.isShut { state.waiting.append((messages.map(\.body), continuation)) }
        return !state.isShut
      }
      if goesOn { continuation.resume() }
    }
    try state.withLock { state in
      state.writes += 1
      if state.failuresLeft > 0 {
        state.failuresLeft -= 1
        throw SinkError(description: "the store is away", isRetryable: true)
      }
      if let failure = state.failure ?? state.failures[stream] { throw failure }
      if messages.contains(where: { state.refused.contains($0.body) }) {
        throw SinkError(description: "a message is refused", isRetryable: false)
      }
      state.batches.append(Batch(stream: stream, messages: messages))
    }
  }

  package func check() async throws {
    if let failure = state.withLock({ $0.failure }) { throw failure }
  }

  package func close() async throws {}

  package func fail(_ failure: SinkError?) {
    state.withLock { $0.failure = failure }
  }

  /// The next writes fail, as in an outage.
  package func fail(times: Int) {
    state.withLock { $0.failuresLeft = times }
  }

  /// Writes of one stream fail; `nil` ends that.
  package func fail(_ failure: SinkError?, for stream: StreamName) {
    state.withLock { $0.failures[stream] = failure }
  }

  /// Batches with one of these messages are refused for good.
  package func refuse(_ bodies: String...) {
    state.withLock { $0.refused = Set(bodies) }
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
    for write in waiting { write.continuation.resume() }
  }
}
