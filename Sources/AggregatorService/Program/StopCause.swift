import Synchronization

/// The signal that ended the input, if one did.
final class StopCause: Sendable {
  private let number = Mutex<Int32?>(nil)

  var signal: Int32? { number.withLock { $0 } }

  func set(_ signal: Int32) {
    number.withLock { $0 = $0 ?? signal }
  }
}
