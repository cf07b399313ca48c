import Tracing

/// The key of a lane, where the machine cannot look into it.
@usableFromInline
final class KeyBox<Key: Hashable & Sendable>: Sendable {
  let key: Key

  init(_ key: Key) {
    self.key = key
  }
}

/// How messages find their lanes.
struct Routing<Key: Hashable & Sendable, Message: Sendable>: Sendable {
  let key: @Sendable (Message) -> Key
  /// Whether keys are of a type of the standard library, whose comparing is no user's code.
  let comparesUnderLock: Bool

  init(key: @escaping @Sendable (Message) -> Key) {
    self.key = key
    let plain: [any Any.Type] = [
      Int.self, Int64.self, Int32.self, UInt.self, UInt64.self, UInt32.self, String.self, Substring.self,
    ]
    comparesUnderLock = plain.contains { $0 == Key.self }
  }

  @inline(__always)
  func matches(_ object: AnyObject, _ key: Key) -> Bool {
    unsafeDowncast(object, to: KeyBox<Key>.self).key == key
  }
}

// MARK: - Finding the lane

extension Core {
  /// Finds or makes the lane of a key, and asks the machine in the same critical section.
  ///
  /// To hash keys and to compare them is a user's code, so it is done outside the lock: those that have the same hash (that is
  /// the right one, as a rule) are looked at one by one, and whoever was found must still be there when the lock is held again.
  func askLane<Key, Answer>(
    of key: Key, _ routing: Routing<Key, Message>,
    _ question: (inout Machine<Continuation>, Int, inout Effects<Continuation>) -> Answer
  ) -> Answer {
    let hash = key.hashValue
    var made: KeyBox<Key>?
    // All lanes with this hash up to this one have other keys, if none has been added since.
    var passed: (lane: Int, generation: Int)?
    machine.lock.pointee.lock()
    var generations = machine.value.pointee.lanes.generations
    while true {
      if let last = passed,
        generations != machine.value.pointee.lanes.generations
          || !machine.value.pointee.lanes.isCurrent(last.lane, last.generation)
      {
        passed = nil
        generations = machine.value.pointee.lanes.generations
      }
      guard let lane = machine.value.pointee.lanes.find(hash, after: passed?.lane) else {
        if let made, generations == machine.value.pointee.lanes.generations {
          return withExtendedLifetime(made) {
            askHoldingLock { machine, effects in
              let lane = machine.lanes.add(hash, key: made)
              return question(&machine, lane, &effects)
            }
          }
        }
        if made == nil {
          machine.lock.pointee.unlock()
          made = KeyBox(key)
          machine.lock.pointee.lock()
        }
        generations = machine.value.pointee.lanes.generations
        passed = nil
        // Others may have made it meanwhile: once more, from the start.
        continue
      }
      let generation = machine.value.pointee.lanes[lane].generation
      let isIt: Bool
      if routing.comparesUnderLock, let object = machine.value.pointee.lanes[lane].key {
        isIt = routing.matches(object, key)
      } else {
        guard let object = machine.value.pointee.lanes[lane].key.map(Unmanaged.passRetained) else { continue }
        machine.lock.pointee.unlock()
        isIt = object._withUnsafeGuaranteedRef { routing.matches($0, key) }
        object.release()
        machine.lock.pointee.lock()
        if isIt, !machine.value.pointee.lanes.isCurrent(lane, generation) {
          passed = nil
          continue
        }
      }
      if isIt {
        return withExtendedLifetime(made) { askHoldingLock { question(&$0, lane, &$1) } }
      }
      passed = (lane, generation)
    }
  }
}

// MARK: - Sending

extension Core {
  /// Offers a message to its lane; one that `waits` is not refused yet when there is no room, and its lane is pinned.
  private func offer<Key>(
    _ message: Message, weight: Int, _ routing: Routing<Key, Message>, waits: Bool
  ) -> (TrySendResult, lane: Int) {
    let key = routing.key(message)
    let context = store.currentContext
    let answer: (TrySendResult, lane: Int) = askLane(of: key, routing) { machine, lane, effects in
      switch machine.offered(toLane: lane, weight: weight, now: time.now(), &effects) {
      case .accepted(let slot, _):
        store.put(message, context, into: slot)
        return (.accepted, lane)
      case .full where waits:
        machine.pinLane(lane)
        return (.full, lane)
      case .full:
        machine.laneSendRefused(lane, &effects)
        return (.full, lane)
      case .closed:
        machine.laneSendRefused(lane, &effects)
        return (.closed, lane)
      case .tooHeavy:
        machine.laneSendRefused(lane, &effects)
        return (.tooHeavy, lane)
      }
    }
    if discardsDrops { discardDrops() }
    return answer
  }

  private func weigh(_ message: Message) -> Int { weight.map { max($0(message), 0) } ?? 0 }

  func trySend<Key>(_ message: Message, _ routing: Routing<Key, Message>) -> TrySendResult {
    let (result, _) = offer(message, weight: weigh(message), routing, waits: false)
    switch result {
    case .accepted: break
    case .full, .closed, .tooHeavy: publishForSender()
    }
    return result
  }

  func send<Key>(_ message: Message, _ routing: Routing<Key, Message>) async throws {
    let weight = weigh(message)
    let (result, lane) = offer(message, weight: weight, routing, waits: overflow == .suspend)
    switch result {
    case .accepted: return
    case .closed: throw refused(.closed)
    case .tooHeavy: throw refused(.tooHeavy)
    case .full where overflow != .suspend: throw refused(.full)
    case .full: break
    }
    switch await wait(for: [message], weights: [weight], lanes: [lane]) {
    case .closed: throw AggregatorError.closed
    case .cancelled: throw CancellationError()
    default: return
    }
  }

  /// The most messages of one sender that wait together: their lanes are kept meanwhile.
  private static var mostWaitingTogether: Int { 64 }

  func send<Key>(
    contentsOf messages: some Sequence<Message>, _ routing: Routing<Key, Message>
  ) async throws(AggregatorError) {
    // The iterator is the user's: it never runs under the lock, and no further than messages can be sent.
    var iterator = messages.makeIterator()
    var sent = 0
    var ahead: [Message] = []
    while let message = ahead.popLast() ?? iterator.next() {
      let weight = weigh(message)
      let (result, lane) = offer(message, weight: weight, routing, waits: overflow == .suspend)
      switch result {
      case .accepted:
        sent += 1
        continue
      case .closed: throw refused(.closed).after(sent)
      case .tooHeavy: throw refused(.tooHeavy).after(sent)
      case .full where overflow != .suspend: throw refused(.full).after(sent)
      case .full: break
      }
      // It waits, and some of those behind it with it.
      var waiting = [message]
      var weights = [weight]
      var lanes = [lane]
      while waiting.count < Self.mostWaitingTogether, let message = ahead.popLast() ?? iterator.next() {
        let weight = weigh(message)
        guard weight <= machine.withLock({ $0.settings.heaviestMessage }) else {
          // It is refused when it is its turn.
          ahead.append(message)
          break
        }
        lanes.append(
          askLane(of: routing.key(message), routing) { machine, lane, _ in
            machine.pinLane(lane)
            return lane
          })
        waiting.append(message)
        weights.append(weight)
      }
      switch await wait(for: waiting, weights: weights, lanes: lanes) {
      case .closed(let admitted): throw AggregatorError.closed.after(sent + admitted)
      case .cancelled(let admitted): throw AggregatorError.cancelled.after(sent + admitted)
      default: sent += waiting.count
      }
    }
  }

  private func refused(_ error: AggregatorError) -> AggregatorError {
    publishForSender()
    return error
  }

  /// Waits until messages, whose lanes are pinned, are accepted, or the sender is told why not.
  private func wait(for messages: [Message], weights: [Int], lanes: [Int]) async -> Wake {
    let context = store.currentContext
    var parcel = messages.withUnsafeBufferPointer { messages in
      weights.withUnsafeBufferPointer {
        store.pack(messages, context, weights: weight == nil ? nil : $0.baseAddress)
      }
    }
    let numbers = UnsafeMutablePointer<Int>.allocate(capacity: lanes.count)
    for (index, lane) in lanes.enumerated() { numbers[index] = lane }
    parcel.lanes = numbers
    let waiting = parcel
    let id = ask { machine, effects in
      let id = machine.laneSenderWaits(waiting, now: time.now(), &effects)
      if id == nil { machine.laneSenderRefused(waiting, &effects) }
      return id
    }
    publishForSender()
    let wake =
      if let id {
        await wait(for: WaitingSend(parcel: waiting, id: id))
      } else {
        Wake.closed(admitted: 0)
      }
    if id == nil { store.free(waiting, admitted: 0) }
    numbers.deallocate()
    return wake
  }
}
