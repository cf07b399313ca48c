import Tracing

/// How messages lie in the machine's raw memory: bare, or each beside the context in which it was sent.
///
/// The machine hands out slots and moves them; only here is it known what is in one. The hot path knows it too, and stays
/// away from slots that hold more than a message (see `MachineSettings.hasPlainSlots`).
struct MessageStore<Message: Sendable>: Sendable {
  private struct Stored {
    var message: Message
    var context: ServiceContext?
  }

  // This and no more, so that a copy of the store costs nothing.
  let keepsContexts: Bool

  // All that names `Stored` is in functions of its own that are not inlined: the metadata of that type is looked up at run
  // time, and the compiler would look it up on the way of bare messages too.

  /// What the machine has to know.
  var layout: MessageLayout { keepsContexts ? storedLayout : MessageLayout(of: Message.self) }

  private var storedLayout: MessageLayout {
    @inline(never) get { MessageLayout(of: Stored.self) }
  }

  /// The context of the current task, where it is kept.
  ///
  /// Never asked under the lock.
  var currentContext: ServiceContext? { keepsContexts ? ServiceContext.current : nil }

  // MARK: In

  @inline(__always)
  func put(_ message: Message, _ context: ServiceContext?, into slot: UnsafeMutableRawPointer) {
    if keepsContexts {
      withUnsafePointer(to: message) { putStored($0, count: 1, context, into: slot) }
    } else {
      slot.initializeMemory(as: Message.self, to: message)
    }
  }

  /// The same for messages that lie side by side, and will.
  @inline(__always)
  func put(
    _ messages: UnsafePointer<Message>, count: Int, _ context: ServiceContext?, into slot: UnsafeMutableRawPointer
  ) {
    if keepsContexts {
      putStored(messages, count: count, context, into: slot)
    } else {
      slot.initializeMemory(as: Message.self, from: messages, count: count)
    }
  }

  @inline(never)
  private func putStored(
    _ messages: UnsafePointer<Message>, count: Int, _ context: ServiceContext?, into slot: UnsafeMutableRawPointer
  ) {
    let target = slot.bindMemory(to: Stored.self, capacity: count)
    for index in 0..<count {
      (target + index).initialize(to: Stored(message: messages[index], context: context))
    }
  }

  // MARK: Out

  /// Moves messages out of a range of slots; the contexts are `nil` where none are kept.
  func take(_ range: Range<Int>, of base: UnsafeMutableRawPointer) -> ([Message], contexts: [ServiceContext?]?) {
    if keepsContexts { return takeStored(range, of: base) }
    let source = base.assumingMemoryBound(to: Message.self) + range.lowerBound
    let messages = [Message](unsafeUninitializedCapacity: range.count) { buffer, count in
      buffer.baseAddress?.moveInitialize(from: source, count: range.count)
      count = range.count
    }
    return (messages, nil)
  }

  @inline(never)
  private func takeStored(
    _ range: Range<Int>, of base: UnsafeMutableRawPointer
  ) -> ([Message], contexts: [ServiceContext?]?) {
    let source = base.assumingMemoryBound(to: Stored.self) + range.lowerBound
    var messages: [Message] = []
    var contexts: [ServiceContext?] = []
    messages.reserveCapacity(range.count)
    contexts.reserveCapacity(range.count)
    for index in 0..<range.count {
      let stored = (source + index).move()
      messages.append(stored.message)
      contexts.append(stored.context)
    }
    return (messages, contexts)
  }

  func destroy(_ range: Range<Int>, of base: UnsafeMutableRawPointer) {
    if keepsContexts { return destroyStored(range, of: base) }
    (base.assumingMemoryBound(to: Message.self) + range.lowerBound).deinitialize(count: range.count)
  }

  @inline(never)
  private func destroyStored(_ range: Range<Int>, of base: UnsafeMutableRawPointer) {
    (base.assumingMemoryBound(to: Stored.self) + range.lowerBound).deinitialize(count: range.count)
  }

  // MARK: Parcels

  /// Copies messages into memory of their own, which `free(_:admitted:)` gives back.
  func pack(
    _ messages: UnsafeBufferPointer<Message>, _ context: ServiceContext?, weights: UnsafePointer<Int>?
  ) -> Parcel {
    let layout = layout
    let base = UnsafeMutableRawPointer.allocate(
      byteCount: messages.count * layout.stride, alignment: layout.alignment)
    if let first = messages.baseAddress { put(first, count: messages.count, context, into: base) }
    var copiedWeights: UnsafeMutablePointer<Int>?
    if let weights {
      let target = UnsafeMutablePointer<Int>.allocate(capacity: messages.count)
      target.initialize(from: weights, count: messages.count)
      copiedWeights = target
    }
    return Parcel(base: base, count: messages.count, weights: copiedWeights)
  }

  /// Destroys the messages that the machine has not moved out.
  func free(_ parcel: Parcel, admitted: Int) {
    destroy(admitted..<parcel.count, of: parcel.base)
    parcel.base.deallocate()
    parcel.weights?.deallocate()
  }
}
