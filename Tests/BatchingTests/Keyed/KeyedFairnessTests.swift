import Batching
import BatchingTesting
import Testing

@Suite("By key: no key starves the others, and idle ones cost nothing", .timeLimit(.minutes(5)))
struct KeyedFairnessTests {
  private struct Broken: Error {}

  @Test
  func aKeyInBackOffGivesItsSlotAway() async throws {
    let rig = try KeyedRig(
      .init(
        batchSize: 1, concurrency: 1, capacity: 100,
        retry: .exponential(maximumAttempts: 2, initial: .seconds(9), maximum: .seconds(9))))
    try await rig.run { _ in
      try await rig.send("a1 a2 b1 b2")
      try await rig.handler.call(0).fail(Broken())
      for number in 1...2 { try await rig.handler.call(number).succeed() }
      #expect(rig.calls == ["a1", "b1", "b2"])
      #expect(rig.statistics.inFlight <= 1)
      rig.clock.advance(by: .seconds(9))
      for number in 3...4 { try await rig.handler.call(number).succeed() }
      #expect(rig.calls.suffix(2) == ["a1", "a2"])
    }
  }

  @Test
  func aKeyWhoseFailureIsBeingSavedGivesItsSlotAway() async throws {
    let rig = try KeyedRig(.init(batchSize: 1, concurrency: 1, capacity: 100), failures: .gated())
    try await rig.run { _ in
      try await rig.send("a1 a2 b1")
      try await rig.handler.call(0).fail(Broken())
      let saving = try await rig.failures.call(0)
      try await rig.handler.call(1).succeed()
      #expect(rig.calls == ["a1", "b1"])
      #expect(rig.statistics.failed == 0)
      saving.succeed()
      try await rig.handler.call(2).succeed()
      #expect(rig.calls == ["a1", "b1", "a2"])
      #expect(rig.statistics.failed == 1)
    }
  }

  @Test
  func keysTakeTurns() async throws {
    let rig = try KeyedRig(.init(batchSize: 1, concurrency: 1, capacity: 100))
    try await rig.run { _ in
      try await rig.send("a1 a2 a3 a4 b1 b2 c1")
      for number in 0..<7 { try await rig.handler.call(number).succeed() }
      try await rig.aggregator.flush()
      #expect(rig.calls == ["a1", "b1", "c1", "a2", "b2", "a3", "a4"])
    }
  }

  @Test
  func theHalvesOfAPoisonedBatchTakeTurnsToo() async throws {
    let rig = try KeyedRig(
      .init(
        batchSize: 4, concurrency: 1, capacity: 100,
        retry: .exponential(maximumAttempts: 1, isolatesPoisonMessages: true)),
      handler: .gated { if $0.contains(Item("a", 1)) { throw Broken() } })
    try await rig.run { _ in
      try await rig.send("a1 a2 a3 a4 b1 b2 b3 b4")
      rig.handler.open()
      try await rig.aggregator.flush()
      #expect(rig.calls == ["a1 a2 a3 a4", "b1 b2 b3 b4", "a1 a2", "a1", "a2", "a3 a4"])
    }
  }

  @Test
  func aBusyKeyHoldsAtMostHalfOfTheCapacity() async throws {
    let rig = try KeyedRig(.init(batchSize: 2, linger: .zero, concurrency: 1, capacity: 20))
    try await rig.run { _ in
      for number in 1... {
        guard rig.aggregator.trySend(Item("a", number)) == .accepted else { break }
      }
      #expect(rig.statistics.held == 10)
      // A second one has a third, as has the first once it has fewer.
      for number in 1... {
        guard rig.aggregator.trySend(Item("b", number)) == .accepted else { break }
      }
      #expect(rig.statistics.held == 15)
      // There is always room for a batch of others.
      for number in 1...2 { #expect(rig.aggregator.trySend(Item("c", number)) == .accepted) }
      #expect(rig.statistics.rejected == 2)
    }
  }

  @Test
  func aSenderThatWaitsForItsKeysShareIsNotInTheWayOfOthers() async throws {
    let rig = try KeyedRig(.init(batchSize: 1, linger: .zero, concurrency: 1, capacity: 4))
    let aggregator = rig.aggregator
    try await rig.run { _ in
      try await rig.send("a1 a2")
      let waiting = (3...4).map { number in Begun { try await aggregator.send(Item("a", number)) } }
      #expect(rig.statistics.waitingSenders == 2)
      #expect(aggregator.trySend(Item("a", 5)) == .full)
      // Others come in without waiting, singly and in a row.
      try await rig.send("b1 c1")
      #expect(rig.statistics.held == 4)
      let last = Begun { try await aggregator.send(Item("d", 1)) }
      #expect(rig.statistics.waitingSenders == 3)
      for number in 0..<7 { try await rig.handler.call(number).succeed() }
      for sender in waiting { try await sender.value }
      try await last.value
      try await aggregator.flush()
      #expect(rig.calls.filter { $0.hasPrefix("a") } == ["a1", "a2", "a3", "a4"])
      #expect(rig.calls.count == 7)
    }
  }

  @Test
  func aSendOfManyKeysWaitsWhereItMustAndKeepsItsOrder() async throws {
    let rig = try KeyedRig(.init(batchSize: 1, linger: .zero, concurrency: 2, capacity: 4))
    let aggregator = rig.aggregator
    try await rig.run { _ in
      let all = (1...100).flatMap { [Item("a", $0), Item("b", $0)] }
      let sending = Begun { try await aggregator.send(contentsOf: all) }
      #expect(!sending.hasEnded)
      rig.handler.open()
      try await sending.value
      try await aggregator.flush()
      for key in ["a", "b"] {
        #expect(rig.fates.handled.filter { $0.key == key }.map(\.number) == Array(1...100))
      }
    }
  }

  @Test
  func aSendThatIsCancelledOrClosedSaysHowManyWereAccepted() async throws {
    let rig = try KeyedRig(.init(batchSize: 1, linger: .zero, capacity: 4))
    let aggregator = rig.aggregator
    let cancelled = Begun { try await aggregator.send(contentsOf: items("a1 b1 a2 b2 c1 a3")) }
    cancelled.cancel()
    let error = await cancelled.error as? AggregatorError
    #expect(error == .cancelled)
    // The second of `b` found as many messages of its key as there was room left.
    #expect(error?.acceptedCount == 3)
    #expect(aggregator.trySend(Item("c", 1)) == .accepted)
    let single = Begun { try await aggregator.send(Item("d", 1)) }
    single.cancel()
    #expect(await single.error is CancellationError)
    let closed = Begun { try await aggregator.send(contentsOf: items("e1 f1")) }
    #expect(rig.statistics.waitingSenders == 1)
    aggregator.shutdown()
    let last = await closed.error as? AggregatorError
    #expect(last == .closed)
    #expect(last?.acceptedCount == 0)
    #expect(aggregator.trySend(Item("g", 1)) == .closed)
    rig.handler.open()
    try await rig.run { _ in }
    #expect(rig.fates.handled.count == 4)
  }

  @Test
  func pushingOutTakesTheOldestOfAllOrOfAKeyThatHasHadItsShare() async throws {
    let rig = try KeyedRig(.init(batchSize: 4, linger: .seconds(60), capacity: 8, overflow: .dropOldest))
    let aggregator = rig.aggregator
    for number in 1...6 { #expect(aggregator.trySend(Item("a", number)) == .accepted) }
    // Four are a batch's worth; the fifth and the sixth pushed out the first two.
    #expect(rig.statistics.dropped == 2)
    for number in 1...4 { #expect(aggregator.trySend(Item("b", number)) == .accepted) }
    #expect(rig.statistics.held == 8)
    #expect(aggregator.trySend(Item("c", 1)) == .accepted)
    #expect(rig.statistics.dropped == 3)
    #expect(rig.statistics.held == 8)
    try await rig.run { _ in
      rig.handler.open()
      try await aggregator.flush()
    }
    let dropped = rig.fates.each.filter { $0.value == .dropped }.keys
    #expect(Set(dropped) == Set(items("a1 a2 a3")))
    let saved = rig.failures.inputs
    #expect(Set(saved.map(\.sequenceNumber)).count == saved.count)
  }

  @Test
  func pushedOutMessagesOfSeveralKeysAreSavedKeyByKey() async throws {
    let rig = try KeyedRig(.init(batchSize: 2, linger: .seconds(60), capacity: 4, overflow: .dropOldest))
    for item in items("a1 b1 c1 d1 e1 f1") { #expect(rig.aggregator.trySend(item) == .accepted) }
    try await rig.run { _ in
      rig.handler.open()
      try await rig.aggregator.flush()
    }
    #expect(Set(rig.failures.inputs.map(\.messages)) == [items("a1"), items("b1")])
    #expect(Set(rig.failures.inputs.map(\.sequenceNumber)).count == 2)
  }

  /// A million keys seen once leave no memory behind.
  @Test
  func idleKeysAreForgotten() async throws {
    final class Key: Hashable, Sendable {
      let number: Int
      let alive: Watched<Int>
      init(_ number: Int, _ alive: Watched<Int>) {
        self.number = number
        self.alive = alive
        alive.change { $0 += 1 }
      }
      deinit { alive.change { $0 -= 1 } }
      static func == (left: Key, right: Key) -> Bool { left.number == right.number }
      func hash(into hasher: inout Hasher) { hasher.combine(number) }
    }
    let alive = Watched(0)
    let most = Watched(0)
    let aggregator = try KeyedAggregator<Key, Int>(
      configuration: .init(batchSize: 10, linger: .zero, concurrency: 2, capacity: 100), key: { Key($0, alive) }
    ) { _, _ in
      most.change { $0 = max($0, alive.current) }
    }
    let run = Begun { try await aggregator.run() }
    for number in 0..<10_000 { try await aggregator.send(number) }
    try await aggregator.flush()
    try await alive.wait { $0 == 0 }
    #expect(most.current < 250)
    aggregator.shutdown()
    try await run.value
    #expect(aggregator.statistics.handled == 10_000)
  }

  /// Neither hashing a key, nor comparing it, nor its end happens under the lock.
  @Test
  func keysMayAskTheAggregatorThemselves() async throws {
    struct Nosy: Hashable, Sendable {
      let number: Int
      let witness: Witness
      static func == (left: Nosy, right: Nosy) -> Bool {
        left.witness.look()
        return left.number == right.number
      }
      func hash(into hasher: inout Hasher) {
        witness.look()
        // All collide.
        hasher.combine(number % 2)
      }
    }
    final class Witness: Sendable {
      let aggregator = Watched<KeyedAggregator<Nosy, Int>?>(nil)
      let looks = Watched(0)
      func look() {
        guard let aggregator = aggregator.current else { return }
        looks.change { $0 += 1 }
        _ = aggregator.statistics
      }
      deinit {}
    }
    let witness = Witness()
    let handled = Watched<[Int: [Int]]>([:])
    let aggregator = try KeyedAggregator<Nosy, Int>(
      configuration: .init(batchSize: 3, linger: .milliseconds(1), concurrency: 2, capacity: 50),
      key: { Nosy(number: $0 % 7, witness: witness) }
    ) { key, batch in
      handled.change { $0[key.number, default: []] += batch }
    }
    witness.aggregator.change { $0 = aggregator }
    let run = Begun { try await aggregator.run() }
    await withThrowingTaskGroup { group in
      for sender in 0..<4 {
        group.addTask {
          for number in 0..<200 { try await aggregator.send(number * 28 + sender * 7 + number % 7) }
        }
      }
    }
    try await aggregator.flush()
    #expect(handled.current.values.reduce(0) { $0 + $1.count } == 800)
    #expect(handled.current.allSatisfy { key, messages in messages.allSatisfy { $0 % 7 == key } })
    #expect(witness.looks.current > 800)
    aggregator.shutdown()
    try await run.value
    witness.aggregator.change { $0 = nil }
  }
}
