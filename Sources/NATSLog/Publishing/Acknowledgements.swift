import CNATS
import Synchronization

/// Messages that are published through a connection and not acknowledged, by the library's pointers to them.
///
/// A message is in it from before it is published until it is acknowledged, refused, or given up; a pointer is not used again
/// before that.
final class Acknowledgements: Sendable {
  private struct Entry {
    let call: PublishCall
    let offset: Int
  }

  private let entries = Mutex<[UInt: Entry]>([:])

  func expect(_ message: OpaquePointer, _ call: PublishCall, _ offset: Int) {
    entries.withLock { $0[UInt(bitPattern: message)] = Entry(call: call, offset: offset) }
  }

  /// Says what has become of a message; only the first word counts.
  func settle(_ message: OpaquePointer, _ error: NATSError?) {
    let entry = entries.withLock { $0.removeValue(forKey: UInt(bitPattern: message)) }
    entry?.call.settle(entry?.offset ?? 0, error)
  }

  /// Gives up what is left of a call.
  func abandon(_ call: PublishCall, _ error: NATSError) {
    let left = entries.withLock { entries in
      let left = entries.filter { $0.value.call === call }
      for key in left.keys { entries[key] = nil }
      return left.values
    }
    for entry in left { call.settle(entry.offset, error) }
  }

  /// For tests: how many there are.
  var count: Int { entries.withLock { $0.count } }

  /// The library has an answer; called on one of its threads.
  static func arrived(
    _ message: OpaquePointer?, _ ack: UnsafeMutablePointer<jsPubAck>?, _ failure: UnsafeMutablePointer<jsPubAckErr>?,
    _ closure: UnsafeMutableRawPointer?
  ) {
    guard let message else { return }
    var error: NATSError?
    if let ack {
      // A repeat of what the server has taken and not stored yet; that may be lost with its leader
      // (nats-io/nats-server#6415).
      if ack.pointee.Sequence == 0 {
        error = NATSError("publishing", NATS_TIMEOUT, text: "the server has it already, and has not stored it yet")
      }
    } else {
      let failure = failure?.pointee
      error = NATSError(
        "publishing", failure?.Err ?? NATS_ERR, code: failure?.ErrCode ?? jsErrCode(0),
        text: failure?.ErrText.map { String(cString: $0) })
    }
    Callbacks.acknowledgements[UInt(bitPattern: closure)]?.settle(message, error)
    natsMsg_Destroy(message)
  }
}

/// Messages that were published together, and what has become of each.
final class PublishCall: Sendable {
  private struct State {
    var errors: [NATSError?]
    var isSettled: [Bool]
    var left: Int
    var continuation: CheckedContinuation<[NATSError?], Never>?
  }

  private let state: Mutex<State>

  init(count: Int, _ continuation: CheckedContinuation<[NATSError?], Never>) {
    state = Mutex(
      State(
        errors: Array(repeating: nil, count: count), isSettled: Array(repeating: false, count: count), left: count,
        continuation: continuation))
  }

  func settle(_ offset: Int, _ error: NATSError?) {
    let ended = state.withLock { state -> (CheckedContinuation<[NATSError?], Never>, [NATSError?])? in
      guard !state.isSettled[offset] else { return nil }
      state.isSettled[offset] = true
      state.errors[offset] = error
      state.left -= 1
      guard state.left == 0, let continuation = state.continuation.take() else { return nil }
      return (continuation, state.errors)
    }
    ended?.0.resume(returning: ended?.1 ?? [])
  }

  var isOver: Bool { state.withLock { $0.left == 0 } }
}
