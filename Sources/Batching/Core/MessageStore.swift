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

  let keepsContexts: Bool
  let layout: MessageLayout

  init(keepsContexts: Bool) {
    self.keepsContexts = keepsContexts
    layout = keepsContexts ? MessageLayout(of: Stored.self) : MessageLayout(of: Message.self)
  }

  /// The context of the current task, where it is kept.
  ///
  /// Never asked under the lock.
  var currentContext: ServiceContext? { keepsContexts ? ServiceContext.current : nil }

  // MARK: In

  func put(_ message: Message, _ context: ServiceContext?, into slot: UnsafeMutableRawPointer) {
    if keepsContexts {
      slot.initializeMemory(as: Stored.self, to: Stored(message: message, context: context))
    } else {
      slot.initializeMemory(as: Message.self, to: message)
    }
  }

  /// The same for messages that lie side by side, and will.
  func put(
    _ messages: UnsafePointer<Message>, count: Int, _ context: ServiceContext?, into slot: UnsafeMutableRawPointer
  ) {
    if keepsContexts {
      for index in 0..<count { put(messages[index], context, into: layout.slot(index, of: slot)) }
    } else {
      slot.initializeMemory(as: Message.self, from: messages, count: count)
    }
  }

  // MARK: Out

  /// Moves messages out of a range of slots; the contexts are `nil` where none are kept.
  func take(_ range: Range<Int>, of base: UnsafeMutableRawPointer) -> ([Message], contexts: [ServiceContext?]?) {
    let first = layout.slot(range.lowerBound, of: base)
    guard keepsContexts else {
      let source = first.assumingMemoryBound(to: Message.self)
      let messages = [Message](unsafeUninitializedCapacity: range.count) { buffer, count in
        buffer.baseAddress?.moveInitialize(from: source, count: range.count)
        count = range.count
      }
      return (messages, nil)
    }
    let source = first.assumingMemoryBound(to: Stored.self)
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
    let first = layout.slot(range.lowerBound, of: base)
    if keepsContexts {
      first.assumingMemoryBound(to: Stored.self).deinitialize(count: range.count)
    } else {
      first.assumingMemoryBound(to: Message.self).deinitialize(count: range.count)
    }
  }

  // MARK: Parcels

  /// Copies messages into memory of their own, which `free(_:admitted:)` gives back.
  func pack(
    _ messages: UnsafeBufferPointer<Message>, _ context: ServiceContext?, weights: UnsafePointer<Int>?
  ) -> Parcel {
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
