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
  /// Moves bare messages out of memory; compiled where the type is known (see `messageMover`).
  let move: MessageMover<Message>

  // All that names `Stored` is in functions of its own that are not inlined: the metadata of that type is looked up at run
  // time, and the compiler would look it up on the way of bare messages too.

  /// About how many bytes a slot has.
  var stride: Int { MemoryLayout<Message>.stride }

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
    keepsContexts ? takeStored(range, of: base) : (move(range, base), nil)
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

/// Moves messages out of a range of slots, in an array of exactly that size.
@usableFromInline
typealias MessageMover<Message> = @Sendable (Range<Int>, UnsafeMutableRawPointer) -> [Message]

/// Inlined into the client, where the message type is known.
///
/// In this module it is not, and each array would cost two look-ups of metadata at run time: as much as all else that is done
/// for a small batch.
@inlinable
func messageMover<Message: Sendable>(of: Message.Type = Message.self) -> MessageMover<Message> {
  { range, base in
    let source = base.assumingMemoryBound(to: Message.self) + range.lowerBound
    return [Message](unsafeUninitializedCapacity: range.count) { buffer, count in
      // A batch has at least one message, so that there is a buffer.
      buffer.baseAddress.unsafelyUnwrapped.moveInitialize(from: source, count: range.count)
      count = range.count
    }
  }
}
