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
  let mover: MessageMover<Message>

  // All that names `Stored` is in functions of its own that are not inlined: the metadata of that type is looked up at run
  // time, and the compiler would look it up on the way of bare messages too. What is on that way is inlined, or this type's
  // own metadata would be.

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
  var currentContext: ServiceContext? {
    @inline(__always) get { keepsContexts ? ServiceContext.current : nil }
  }

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

  /// Moves messages out of a range of slots, into the memory of `spare` where it can; the contexts are `nil` where none are
  /// kept.
  @inline(__always)
  func take(
    _ range: Range<Int>, of base: UnsafeMutableRawPointer, spare: inout [Message]
  ) -> ([Message], contexts: [ServiceContext?]?) {
    keepsContexts ? takeStored(range, of: base) : (mover.take(range, base, &spare), nil)
  }

  /// Moves messages out of a chain of nodes.
  @inline(__always)
  func take(
    _ taken: TakenLane, spare: inout [Message]
  ) -> ([Message], contexts: [ServiceContext?]?) {
    keepsContexts
      ? takeStored(taken)
      : (mover.gather(taken.chain.newest.base, taken.layout.offset, taken.layout.mask, taken.count, &spare), nil)
  }

  @inline(never)
  private func takeStored(_ taken: TakenLane) -> ([Message], contexts: [ServiceContext?]?) {
    var messages: [Message] = []
    var contexts: [ServiceContext?] = []
    messages.reserveCapacity(taken.count)
    contexts.reserveCapacity(taken.count)
    taken.forEachSlot { slot in
      let stored = slot.assumingMemoryBound(to: Stored.self).move()
      messages.append(stored.message)
      contexts.append(stored.context)
    }
    return (messages.reversed(), contexts.reversed())
  }

  /// Moves messages out of a range of slots.
  func take(_ range: Range<Int>, of base: UnsafeMutableRawPointer) -> [Message] {
    var spare: [Message] = []
    return take(range, of: base, spare: &spare).0
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

/// What is done with arrays of messages; compiled where the type is known.
///
/// In this module it is not, and each array would cost look-ups of metadata at run time: as much as all else that is done for a
/// small batch.
@usableFromInline
struct MessageMover<Message: Sendable>: Sendable {
  /// Moves messages out of a range of slots into an array: into `spare`, if that is large enough.
  let take: @Sendable (_ range: Range<Int>, _ base: UnsafeMutableRawPointer, _ spare: inout [Message]) -> [Message]
  /// Moves messages out of a chain of nodes: each has some, at an offset, as many as the mask says, and knows the one before.
  let gather:
    @Sendable (
      _ newest: UnsafeMutableRawPointer, _ offset: Int, _ mask: Int, _ count: Int, _ spare: inout [Message]
    ) -> [Message]
  /// Destroys a batch's messages; their array becomes `spare`, unless somebody else holds it or it is large.
  let recycle: @Sendable (_ batch: inout Batch<Message>, _ spare: inout [Message]) -> Void

  @usableFromInline
  init(
    take: @escaping @Sendable (Range<Int>, UnsafeMutableRawPointer, inout [Message]) -> [Message],
    gather: @escaping @Sendable (UnsafeMutableRawPointer, Int, Int, Int, inout [Message]) -> [Message],
    recycle: @escaping @Sendable (inout Batch<Message>, inout [Message]) -> Void
  ) {
    self.take = take
    self.gather = gather
    self.recycle = recycle
  }
}

/// The most bytes of an array that is kept for the next batch.
@usableFromInline var mostSpareBytes: Int { 64 * 1024 }

/// Inlined into the client, where the message type is known.
@inlinable
func messageMover<Message: Sendable>(of: Message.Type = Message.self) -> MessageMover<Message> {
  MessageMover { range, base, spare in
    let source = base.assumingMemoryBound(to: Message.self) + range.lowerBound
    var messages: [Message] = []
    swap(&messages, &spare)
    messages.append(addingCapacity: range.count) { span in
      span.withUnsafeMutableBufferPointer { buffer, count in
        // A batch has at least one message, so that there is a buffer.
        buffer.baseAddress.unsafelyUnwrapped.moveInitialize(from: source, count: range.count)
        count = range.count
      }
    }
    return messages
  } gather: { newest, offset, mask, count, spare in
    var messages: [Message] = []
    swap(&messages, &spare)
    messages.append(addingCapacity: count) { span in
      span.withUnsafeMutableBufferPointer { buffer, filled in
        let target = buffer.baseAddress.unsafelyUnwrapped
        var node = newest
        var end = count
        while true {
          // All in this node: it begins at a multiple of their number.
          let start = (end - 1) & ~mask
          let source = (node + offset).assumingMemoryBound(to: Message.self)
          (target + start).moveInitialize(from: source, count: end - start)
          guard start > 0 else { break }
          end = start
          node = node.load(as: UnsafeMutableRawPointer.self)
        }
        filled = count
      }
    }
    return messages
  } recycle: { batch, spare in
    let isSmall = batch.contents.capacity &* MemoryLayout<Message>.stride <= mostSpareBytes
    batch.contents.removeAll(keepingCapacity: isSmall)
    swap(&batch.contents, &spare)
  }
}
