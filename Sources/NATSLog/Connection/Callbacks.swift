import Synchronization

/// What callbacks of the client library are about.
///
/// The library gets a number in place of a pointer, because its threads may call when what they call is gone: they find nothing.
enum Callbacks {
  static let events = Registry<ConnectionEvents>()
  static let acknowledgements = Registry<Acknowledgements>()
}

/// Objects by numbers, which are never used again.
final class Registry<Object: AnyObject & Sendable>: Sendable {
  private struct State {
    var objects: [UInt: Object] = [:]
    var last: UInt = 0
  }

  private let state = Mutex(State())

  func insert(_ object: Object) -> UInt {
    state.withLock { state in
      state.last += 1
      state.objects[state.last] = object
      return state.last
    }
  }

  func remove(_ number: UInt) {
    // Outside the lock, lest the object's end asks for it.
    let object = state.withLock { $0.objects.removeValue(forKey: number) }
    withExtendedLifetime(object) {}
  }

  subscript(_ number: UInt) -> Object? {
    state.withLock { $0.objects[number] }
  }

  /// For tests: how many there are.
  var count: Int { state.withLock { $0.objects.count } }
}

/// Gives `body` strings as C takes them.
func withCStrings<Value>(
  _ strings: [String], _ body: (UnsafeMutablePointer<UnsafePointer<CChar>?>) -> Value
) -> Value {
  let copies = strings.map { text in Array(text.utf8CString) }
  let pointers = UnsafeMutablePointer<UnsafePointer<CChar>?>.allocate(capacity: max(copies.count, 1))
  defer { pointers.deallocate() }
  func next(_ index: Int) -> Value {
    guard index < copies.count else { return body(pointers) }
    return copies[index].withUnsafeBufferPointer { buffer in
      pointers[index] = buffer.baseAddress
      return next(index + 1)
    }
  }
  return next(0)
}
