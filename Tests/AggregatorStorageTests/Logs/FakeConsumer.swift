import AggregatorStorage
import Synchronization

/// A log in memory with one member, which notes what it is told of each message.
final class FakeConsumer: LogConsumer {
  private struct State {
    var waiting: [LogMessage] = []
    var taken = 0
    var acknowledged: [Int64] = []
    var givenBack: [Int64] = []
    var lost: Set<LogPartition> = []
    var isStopped = false
    var closings = 0
    var failure: (any Error)?
    var reader: CheckedContinuation<Void, Never>?
  }

  private let state = Mutex(State())

  /// Puts messages into the log: bodies of a partition, of one stream.
  func add(_ bodies: [String], partition: String, stream: StreamName = .messages) {
    wake { state in
      for body in bodies {
        let position = Int64(state.taken + state.waiting.count)
        state.waiting.append(
          LogMessage(
            partition: LogPartition(partition), position: position, stream: stream,
            message: Message(body: body, receivedAt: 0, identity: "fake/\(position)"), redeliveries: 0,
            ticket: position))
      }
    }
  }

  func fail(_ error: any Error) { wake { $0.failure = error } }
  func lose(_ partition: String) { state.withLock { _ = $0.lost.insert(LogPartition(partition)) } }

  var taken: Int { state.withLock { $0.taken } }
  var acknowledged: [Int64] { state.withLock { $0.acknowledged } }
  var givenBack: [Int64] { state.withLock { $0.givenBack } }
  var closings: Int { state.withLock { $0.closings } }

  func next(atMost limit: Int) async throws -> [LogMessage] {
    while true {
      let taken = try state.withLock { state -> [LogMessage]? in
        if let failure = state.failure { throw failure }
        if state.isStopped { return [] }
        guard !state.waiting.isEmpty else { return nil }
        let taken = Array(state.waiting.prefix(limit))
        state.waiting.removeFirst(taken.count)
        state.taken += taken.count
        return taken
      }
      if let taken { return taken }
      await withCheckedContinuation { continuation in
        let isReady = state.withLock { state in
          if state.isStopped || !state.waiting.isEmpty || state.failure != nil { return true }
          state.reader = continuation
          return false
        }
        if isReady { continuation.resume() }
      }
    }
  }

  func owns(_ message: LogMessage) -> Bool { state.withLock { !$0.lost.contains(message.partition) } }

  func acknowledge(_ messages: [LogMessage]) async {
    state.withLock { $0.acknowledged += messages.map(\.ticket) }
  }

  func giveBack(_ messages: [LogMessage]) async {
    state.withLock { $0.givenBack += messages.map(\.ticket) }
  }

  func stop() { wake { $0.isStopped = true } }
  func close() async { state.withLock { $0.closings += 1 } }
  var lag: LogLag { LogLag() }

  private func wake(_ change: (inout State) -> Void) {
    let reader = state.withLock { state in
      change(&state)
      return state.reader.take()
    }
    reader?.resume()
  }
}
