import CKafka
import Synchronization

/// Who waits for which delivery reports.
///
/// Each message carries a ticket: its batch and its place there. So the report of a message finds its batch without memory
/// of its own that would have to be freed.
final class Deliveries: Sendable {
  /// Why messages of a batch were not delivered, by their place in it.
  typealias Failures = [Int: KafkaError]

  private struct Batch {
    var unsettled: Int
    var failures: Failures = [:]
    var continuation: CheckedContinuation<Failures, Never>?
  }

  private struct State {
    var batches: [UInt: Batch] = [:]
    var next: UInt = 1
    var isClosed = false
    /// Grows when there may be room in the client's queue.
    var rounds = 0
    var waitingForRoom: [CheckedContinuation<Void, Never>] = []
  }

  /// Bits of a ticket that say the place in the batch.
  private static let placeBits: UInt = 24
  /// The most messages of a batch.
  static let mostMessages = 1 << placeBits

  private let state = Mutex(State())

  /// Begins a batch of so many messages; `nil` after ``close()``.
  func begin(_ count: Int) -> UInt? {
    state.withLock { state in
      guard !state.isClosed else { return nil }
      defer { state.next += 1 }
      state.batches[state.next] = Batch(unsettled: count)
      return state.next
    }
  }

  /// What a message carries.
  static func ticket(_ batch: UInt, _ place: Int) -> UnsafeMutableRawPointer? {
    UnsafeMutableRawPointer(bitPattern: batch << placeBits | UInt(place))
  }

  /// A message was not even taken into the queue.
  func fail(_ batch: UInt, _ place: Int, _ error: KafkaError) {
    settle([(batch << Self.placeBits | UInt(place), error)])
  }

  /// Takes the reports of an event.
  func settle(_ event: OpaquePointer) {
    var reports: [(UInt, KafkaError?)] = []
    reports.reserveCapacity(rd_kafka_event_message_count(event))
    while let message = rd_kafka_event_message_next(event) {
      let error = message.pointee.err == RD_KAFKA_RESP_ERR_NO_ERROR ? nil : KafkaError(message.pointee.err)
      reports.append((UInt(bitPattern: message.pointee._private), error))
    }
    settle(reports)
  }

  private func settle(_ reports: [(ticket: UInt, error: KafkaError?)]) {
    let done = state.withLock { state in
      var done: [(CheckedContinuation<Failures, Never>, Failures)] = []
      for (ticket, error) in reports {
        let id = ticket >> Self.placeBits
        guard let index = state.batches.index(forKey: id) else { continue }
        state.batches.values[index].unsettled -= 1
        if let error { state.batches.values[index].failures[Int(ticket & (1 << Self.placeBits - 1))] = error }
        let batch = state.batches.values[index]
        if batch.unsettled == 0, let continuation = batch.continuation {
          done.append((continuation, batch.failures))
          state.batches.remove(at: index)
        }
      }
      return done
    }
    for (continuation, failures) in done { continuation.resume(returning: failures) }
  }

  /// Returns when each message of the batch is settled.
  func outcome(of id: UInt) async -> Failures {
    await withCheckedContinuation { continuation in
      let failures = state.withLock { state -> Failures? in
        guard let batch = state.batches[id] else { return [:] }
        guard batch.unsettled > 0 else {
          state.batches[id] = nil
          return batch.failures
        }
        state.batches[id]?.continuation = continuation
        return nil
      }
      if let failures { continuation.resume(returning: failures) }
    }
  }

  // MARK: Room

  /// The round that it is now.
  var round: Int { state.withLock { $0.rounds } }

  /// Messages have left the client's queue.
  func beginRound() {
    let waiting = state.withLock { state in
      state.rounds += 1
      defer { state.waitingForRoom = [] }
      return state.waitingForRoom
    }
    for continuation in waiting { continuation.resume() }
  }

  /// Returns when it is a later round.
  ///
  /// It is bounded: a queue that is full has messages in it, and each of them is reported within its time-out.
  func round(after round: Int) async {
    await withCheckedContinuation { continuation in
      let isOver = state.withLock { state in
        if state.rounds == round { state.waitingForRoom.append(continuation) }
        return state.rounds != round
      }
      if isOver { continuation.resume() }
    }
  }

  /// Whether somebody waits for reports.
  var isBusy: Bool { state.withLock { !$0.batches.isEmpty } }

  // MARK: The end

  /// No batch is begun any more.
  func close() {
    state.withLock { $0.isClosed = true }
  }

  /// Whether it is closed and nobody waits.
  var isOver: Bool { state.withLock { $0.isClosed && $0.batches.isEmpty } }
}
