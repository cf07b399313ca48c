/// The key of a lane, where the machine cannot look into it.
@usableFromInline
final class KeyBox<Key: Hashable & Sendable>: Sendable {
  @usableFromInline let key: Key

  @inlinable
  init(_ key: Key) {
    self.key = key
  }
}

/// Whether to compare keys of this type is no user's code, and may be done under the lock.
@usableFromInline
func isPlainKey(_ type: Any.Type) -> Bool {
  let plain: [any Any.Type] = [
    Int.self, Int64.self, Int32.self, UInt.self, UInt64.self, UInt32.self, String.self, Substring.self,
  ]
  return plain.contains { $0 == type }
}

/// What became of a message that was offered to a lane.
@usableFromInline
enum LaneAnswer: Sendable {
  case accepted
  /// There is no room; the lane is pinned, if the message is to wait.
  case full(lane: Int)
  case closed
  case tooHeavy
}

// MARK: - Finding the lane

// What is done with keys and messages is in closures that are compiled in the client, where their types are known; what gets
// these names neither. In this module each generic type would be looked up at run time, at a multiple of the cost of all
// the rest.

extension Core {
  /// Finds or makes the lane of a key, and asks the machine in the same critical section.
  ///
  /// To hash keys and to compare them is a user's code, so it is done outside the lock: those that have the same hash (that is
  /// the right one, as a rule) are looked at one by one, and whoever was found must still be there when the lock is held again.
  @inline(__always)
  private func askLane<Answer>(
    hash: Int, comparesUnderLock: Bool, matches: (AnyObject) -> Bool, makeKey: () -> AnyObject,
    _ question: (inout Machine<Continuation>, Int, inout Effects<Continuation>) -> Answer
  ) -> Answer {
    // Pointers of our own: to go through `machine` looks like a change of that to ThreadSanitizer.
    let lock = machine.lock
    let state = machine.value
    var made: AnyObject?
    // All lanes with this hash up to this one have other keys, if none has been added since.
    var passed: LaneMark?
    lock.pointee.lock()
    var additions = state.pointee.laneAdditions
    while true {
      if additions != state.pointee.laneAdditions {
        additions = state.pointee.laneAdditions
        passed = nil
      }
      guard let mark = state.pointee.findLane(hash, after: &passed) else {
        if let made {
          return withExtendedLifetime(made) {
            askHoldingLock { machine, effects in
              let lane = machine.lanes.add(hash, key: made)
              return question(&machine, lane, &effects)
            }
          }
        }
        lock.pointee.unlock()
        made = makeKey()
        lock.pointee.lock()
        // Others may have made it meanwhile: once more, from the start.
        passed = nil
        continue
      }
      let isIt: Bool
      if comparesUnderLock {
        isIt = state.pointee.withKey(of: mark.lane, matches)
      } else {
        let object = state.pointee.retainedKey(of: mark.lane)
        lock.pointee.unlock()
        isIt = object._withUnsafeGuaranteedRef(matches)
        object.release()
        lock.pointee.lock()
        if isIt, !state.pointee.isCurrent(mark) {
          passed = nil
          continue
        }
      }
      if isIt {
        return withExtendedLifetime(made) { askHoldingLock { question(&$0, mark.lane, &$1) } }
      }
      passed = mark
    }
  }

  /// Offers a message, which `put` stores, to the lane of its key.
  ///
  /// One that `waits` is not refused yet when there is no room, and its lane is pinned.
  @usableFromInline
  func offerToLane(
    hash: Int, comparesUnderLock: Bool, weight: Int, waits: Bool, matches: (AnyObject) -> Bool,
    makeKey: () -> AnyObject, put: (UnsafeMutableRawPointer) -> Void
  ) -> LaneAnswer {
    let answer: LaneAnswer = askLane(
      hash: hash, comparesUnderLock: comparesUnderLock, matches: matches, makeKey: makeKey
    ) { machine, lane, effects in
      let answer: LaneAnswer
      switch machine.offered(toLane: lane, weight: weight, now: time.now(), &effects) {
      case .accepted(let slot, _):
        put(slot)
        return .accepted
      case .full where waits:
        machine.pinLane(lane)
        return .full(lane: lane)
      case .full: answer = .full(lane: lane)
      case .closed: answer = .closed
      case .tooHeavy: answer = .tooHeavy
      }
      machine.laneSendRefused(lane, &effects)
      return answer
    }
    if overflow == .dropOldest, discardsDrops { discardDrops() }
    switch answer {
    case .accepted: break
    case .full, .closed, .tooHeavy: publishForSender()
    }
    return answer
  }

  /// Finds or makes the lane of a key for a message that is about to wait.
  @usableFromInline
  func pinLane(
    hash: Int, comparesUnderLock: Bool, matches: (AnyObject) -> Bool, makeKey: () -> AnyObject
  ) -> Int {
    askLane(hash: hash, comparesUnderLock: comparesUnderLock, matches: matches, makeKey: makeKey) { machine, lane, _ in
      machine.pinLane(lane)
      return lane
    }
  }
}

// MARK: - Waiting

extension Core {
  /// What a message weighs, 0 where nothing is weighed.
  @inlinable
  func weigh(_ message: Message) -> Int { weight.map { max($0(message), 0) } ?? 0 }

  @usableFromInline var waitsForRoom: Bool { overflow == .suspend }

  @usableFromInline var heaviestMessage: Int { machine.withLock { $0.settings.heaviestMessage } }

  /// Waits until messages, whose lanes are pinned, are accepted, or the sender is told why not.
  @usableFromInline
  func wait(for messages: [Message], weights: [Int], lanes: [Int]) async -> Wake {
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
