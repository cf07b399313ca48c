/// A value that is only touched under its lock: the one place in this module where there is locking.
///
/// The lock and the value's first fields share one aligned cache line. The value lies behind a pointer, which spares it the
/// dynamic checks of exclusive access that a stored property of a class has; the lock does their work.
@usableFromInline
struct Guarded<Value: ~Copyable>: ~Copyable {
  // Two pointers into one piece of memory, and not one to a struct of both: a change of the value would be, formally, one of
  // the struct, and so of the lock that others look at meanwhile.
  @usableFromInline let lock: UnsafeMutablePointer<SpinLock>
  @usableFromInline let value: UnsafeMutablePointer<Value>

  init(_ value: consuming Value) {
    let offset = max(MemoryLayout<SpinLock>.size, MemoryLayout<Value>.alignment)
    // 128: the pair of lines that the hardware fetches together.
    let memory = UnsafeMutableRawPointer.allocate(byteCount: offset + MemoryLayout<Value>.size, alignment: 128)
    lock = memory.bindMemory(to: SpinLock.self, capacity: 1)
    lock.initialize(to: SpinLock())
    self.value = (memory + offset).bindMemory(to: Value.self, capacity: 1)
    self.value.initialize(to: value)
  }

  deinit {
    value.deinitialize(count: 1)
    lock.deinitialize(count: 1)
    UnsafeMutableRawPointer(lock).deallocate()
  }

  /// Runs `body` with the lock held.
  ///
  /// It must not call anything that may take the lock again, resume a continuation, or run a user's code.
  @inline(__always)
  borrowing func withLock<Result: ~Copyable, Failure: Error>(
    _ body: (inout Value) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    lock.pointee.lock()
    return try withHeldLock(body)
  }

  /// Runs `body` with the lock that the caller has taken by hand, and releases it.
  @inline(__always)
  borrowing func withHeldLock<Result: ~Copyable, Failure: Error>(
    _ body: (inout Value) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    defer { lock.pointee.unlock() }
    return try body(&value.pointee)
  }
}

// Unchecked because the compiler cannot see that `value` is only reached with `lock` held, here and on the hot path of
// `Core`. What goes in and out of it is `Sendable` or owned by the lock: the machine's numbers, raw memory of `Sendable`
// messages, and continuations.
extension Guarded: @unchecked Sendable where Value: ~Copyable {}
