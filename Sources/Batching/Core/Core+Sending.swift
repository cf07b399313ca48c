import Tracing

// MARK: - The hot path

extension Core {
  /// Appends a message if nothing else has to be looked at; otherwise returns `false` *with the lock held*.
  @inlinable
  @inline(__always)
  func appendOrKeepLock(_ message: Message) -> Bool {
    machine.lock.pointee.lock()
    let count = machine.value.pointee.slots.count
    guard count < machine.value.pointee.slots.limit else { return false }
    // A limit above zero means that there is memory.
    let base = machine.value.pointee.slots.base.unsafelyUnwrapped
    (base + count &* MemoryLayout<Message>.stride).initializeMemory(as: Message.self, to: message)
    machine.value.pointee.slots.count = count &+ 1
    machine.lock.pointee.unlock()
    return true
  }

  /// The same for messages that lie side by side: appends all of them, if nothing else has to be looked at.
  @inlinable
  @inline(__always)
  func append(_ messages: UnsafeBufferPointer<Message>) -> Bool {
    guard !messages.isEmpty, messages.count <= Self.longestRun, let first = messages.baseAddress else { return false }
    machine.lock.pointee.lock()
    let count = machine.value.pointee.slots.count
    guard messages.count <= machine.value.pointee.slots.limit &- count else {
      machine.lock.pointee.unlock()
      return false
    }
    let base = machine.value.pointee.slots.base.unsafelyUnwrapped
    (base + count &* MemoryLayout<Message>.stride).initializeMemory(
      as: Message.self, from: first, count: messages.count)
    machine.value.pointee.slots.count = count &+ messages.count
    machine.lock.pointee.unlock()
    return true
  }
}

// MARK: - Without waiting

extension Core {
  /// Offers a message to the machine, with the lock held, and releases it.
  ///
  /// A sender that `waits` is not refused yet when there is no room.
  @usableFromInline
  func offerHoldingLock(_ message: Message, waits: Bool) -> TrySendResult {
    var weight = 0
    var context: ServiceContext?
    if self.weight != nil || store.keepsContexts {
      machine.lock.pointee.unlock()
      // A message is weighed once; one that may wait is weighed where it waits.
      if self.weight != nil, waits { return .full }
      if let weigh = self.weight { weight = max(weigh(message), 0) }
      context = store.currentContext
      machine.lock.pointee.lock()
    }
    let offer = askHoldingLock { machine, effects in
      let offer = machine.offered(weight: weight, now: time.now(), &effects)
      switch offer {
      case .accepted(let slot, _): store.put(message, context, into: slot)
      case .full where waits: break
      case .full, .closed, .tooHeavy: machine.sendRefused()
      }
      return offer
    }
    if discardsDrops { discardDrops() }
    let result: TrySendResult
    switch offer {
    case .accepted: return .accepted
    case .full where waits: return .full
    case .full: result = .full
    case .closed: result = .closed
    case .tooHeavy: result = .tooHeavy
    }
    publishForSender()
    return result
  }

  /// Whether pushed-out messages need no saving: nobody asked for them.
  var discardsDrops: Bool { overflow == .dropOldest && handling.onFailure == nil }
}

// MARK: - Waiting

/// How far a send of several messages came.
@usableFromInline
enum SendProgress {
  /// All were accepted.
  case accepted
  /// So many were accepted, and then one was refused.
  case refused(AggregatorError, after: Int)
  /// So many were accepted, and then some had to wait for room.
  case waits(WaitingSend, after: Int)
}

/// Messages that wait for room, and their place in line.
@usableFromInline
struct WaitingSend {
  let parcel: Parcel
  let id: Int

  @usableFromInline var count: Int { parcel.count }
}

extension Core {
  /// The most messages that are accepted in one critical section, and that wait together.
  @usableFromInline static var longestRun: Int { 1024 }

  /// How often a sender looks for room, three microseconds or four apart, before it suspends.
  ///
  /// To be suspended and resumed costs a microsecond or more on both sides. The number is measured, as is the pause.
  private static var looksBeforeWaiting: Int { 4 }

  /// Whether there may be room again before a task could have been suspended and resumed.
  ///
  /// That is so while a batch is a matter of a microsecond. With larger ones the looking is in vain, and one resumption
  /// serves many messages anyway.
  private var looksForRoom: Bool { overflow == .suspend && weight == nil && Self.areSmall(batchSize) }

  /// Whether batches of this size are a matter of a microsecond, so that sender and slot take turns.
  static func areSmall(_ batchSize: Int) -> Bool { batchSize <= 64 }

  /// Sends a message that found no room a moment ago, or that has to be weighed.
  @usableFromInline
  func sendSlowly(_ message: Message) async throws {
    if looksForRoom, patience.isThere() {
      for _ in 0..<Self.looksBeforeWaiting {
        SpinLock.stayAwayLong()
        if appendOrKeepLock(message) { return patience.paid() }
        switch offerHoldingLock(message, waits: true) {
        case .accepted: return patience.paid()
        case .full: continue
        case .closed: throw AggregatorError.closed
        case .tooHeavy: throw AggregatorError.tooHeavy
        }
      }
      patience.wasInVain()
    }
    let progress = withUnsafePointer(to: message) { send(UnsafeBufferPointer(start: $0, count: 1)) }
    switch progress {
    case .accepted: return
    case .refused(let error, _): throw error
    case .waits(let waiting, _):
      switch await wait(for: waiting) {
      case .closed: throw AggregatorError.closed
      case .cancelled: throw CancellationError()
      default: return
      }
    }
  }

  /// Sends a sequence in order.
  ///
  /// Inlined for the sake of slices that find room: they need no async frame.
  @inlinable
  @inline(__always)
  func send(contentsOf messages: some Sequence<Message>) async throws(AggregatorError) {
    if messages.withContiguousStorageIfAvailable({ append($0) }) ?? false { return }
    let progress = messages.withContiguousStorageIfAvailable { send($0) }
    guard let progress else { return try await sendGathered(messages) }
    if case .accepted = progress { return }
    try await sendRest(of: messages, progress)
  }

  /// Sends what is left of messages that lie side by side, after some had to wait.
  @inlinable
  func sendRest(of messages: some Sequence<Message>, _ progress: SendProgress) async throws(AggregatorError) {
    var progress = progress
    var sent = 0
    while let more = try await settle(progress, after: sent) {
      sent = more
      progress =
        messages.withContiguousStorageIfAvailable { send(UnsafeBufferPointer(rebasing: $0[sent...])) } ?? .accepted
    }
  }

  /// Sends messages that do not lie side by side: they are gathered by the run.
  ///
  /// The iterator is the user's, so it never runs under the lock.
  @inlinable
  func sendGathered(_ messages: some Sequence<Message>) async throws(AggregatorError) {
    var sent = 0
    var iterator = messages.makeIterator()
    var run: [Message] = []
    repeat {
      run.removeAll(keepingCapacity: true)
      while run.count < Self.longestRun, let message = iterator.next() { run.append(message) }
      var offset = 0
      while let more = try await settle(
        run.withUnsafeBufferPointer({ send(UnsafeBufferPointer(rebasing: $0[offset...])) }), after: sent + offset)
      {
        offset = more - sent
      }
      sent += run.count
    } while run.count == Self.longestRun
  }

  /// Waits if there is something to wait for; returns how many messages have been sent, `nil` for all.
  @usableFromInline
  func settle(
    _ progress: SendProgress, after sent: Int
  ) async throws(AggregatorError) -> Int? {
    switch progress {
    case .accepted: return nil
    case .refused(let error, let accepted): throw error.after(sent + accepted)
    case .waits(let waiting, let accepted):
      switch await wait(for: waiting) {
      case .closed(let admitted): throw AggregatorError.closed.after(sent + accepted + admitted)
      case .cancelled(let admitted): throw AggregatorError.cancelled.after(sent + accepted + admitted)
      default: return sent + accepted + waiting.count
      }
    }
  }

  /// Sends as much of a buffer as there is room for.
  @usableFromInline
  func send(_ messages: UnsafeBufferPointer<Message>) -> SendProgress {
    // Plain pointers from here on: the type of a slice of a buffer would be looked up at run time.
    guard let first = messages.baseAddress else { return .accepted }
    let context = store.currentContext
    var sent = 0
    while sent < messages.count {
      let run = first + sent
      let count = min(messages.count - sent, Self.longestRun)
      let progress: SendProgress
      if weight == nil {
        progress = sendRun(run, count: count, context, weights: nil)
      } else {
        progress = weights(of: run, count: count).withUnsafeBufferPointer {
          sendRun(run, count: count, context, weights: $0.baseAddress)
        }
      }
      if discardsDrops { discardDrops() }
      switch progress {
      case .accepted:
        sent += count
      case .refused(let error, let accepted):
        publishForSender()
        return .refused(error, after: sent + accepted)
      case .waits(let waiting, let accepted):
        publishForSender()
        return .waits(waiting, after: sent + accepted)
      }
    }
    return .accepted
  }

  /// What each message weighs; not inlined, so that who weighs nothing does not retain the closure.
  @inline(never)
  private func weights(of run: UnsafePointer<Message>, count: Int) -> [Int] {
    guard let weight else { return [] }
    return (0..<count).map { max(weight(run[$0]), 0) }
  }

  /// Offers messages until one is refused.
  ///
  /// Those that find no room go into a parcel, if the policy is to wait.
  private func sendRun(
    _ run: UnsafePointer<Message>, count: Int, _ context: ServiceContext?, weights: UnsafePointer<Int>?
  ) -> SendProgress {
    ask { machine, effects in
      var sent = 0
      while sent < count {
        let offer =
          if let weights {
            machine.offered(weight: weights[sent], now: time.now(), &effects)
          } else {
            machine.offered(count: count - sent, now: time.now(), &effects)
          }
        let error: AggregatorError
        switch offer {
        case .accepted(let slot, let accepted):
          store.put(run + sent, count: accepted, context, into: slot)
          sent += accepted
          continue
        case .full where overflow == .suspend:
          // A message that will never fit must not stand in line: it is refused once those before it are accepted.
          let end = weights.flatMap { weights in
            (sent..<count).first { weights[$0] > machine.settings.heaviestMessage }
          }
          let rest = store.pack(
            UnsafeBufferPointer(start: run + sent, count: (end ?? count) - sent), context,
            weights: weights.map { $0 + sent })
          return .waits(WaitingSend(parcel: rest, id: machine.senderWaits(rest)), after: sent)
        case .full: error = .full
        case .closed: error = .closed
        case .tooHeavy: error = .tooHeavy
        }
        machine.sendRefused()
        return .refused(error, after: sent)
      }
      return .accepted
    }
  }

  /// Waits until all of the parcel is accepted, or the sender is told why not.
  func wait(for waiting: WaitingSend) async -> Wake {
    let id = waiting.id
    let wake = await wait {
      $0.senderAttached(id, $1)
    } cancel: { [time] in
      $0.senderCancelled(id, now: time.now(), &$1)
    }
    switch wake {
    case .closed(let admitted), .cancelled(let admitted): store.free(waiting.parcel, admitted: admitted)
    default: store.free(waiting.parcel, admitted: waiting.count)
    }
    return wake
  }
}
