import Batching
import BatchingTesting
import Testing

// The cases of Broadway's `put_batch_key`, `partition_by` and `shutdown` (`test/broadway_test.exs`), and the order that Kafka's
// producer keeps in a partition; docs/peers.md has the list.
@Suite("Peers: Broadway and Kafka", .timeLimit(.minutes(5)))
struct BroadwayAndKafkaCases {
  private struct Broken: Error {}

  // Broadway, put_batch_key: "generate batches based on :batch_size" (1, 2, 3, 4 with the keys odd and even, sizes of 2).
  @Test
  func `batches by key are full by their own size`() async throws {
    let rig = try KeyedRig(.init(batchSize: 2, linger: .seconds(3600), capacity: 100), handler: .open())
    try await rig.run { _ in
      try await rig.send("o1 e2 o3 e4")
      try await rig.handler.waitForCalls(count: 2)
    }
    #expect(rig.calls == ["o1 o3", "e2 e4"])
    #expect(rig.handler.inputs.map(\.trigger) == [.size, .size])
  }

  // Broadway, put_batch_key: "generate batches with the remaining messages after :batch_timeout is reached". Its time runs
  // for each key from its first message, as here.
  @Test
  func `what remains comes when its time is over`() async throws {
    let rig = try KeyedRig(.init(batchSize: 2, linger: .seconds(1), capacity: 100), handler: .open())
    try await rig.run { _ in
      try await rig.send("o1 e2")
      try await rig.clock.waitForSleeper(until: .seconds(1))
      rig.clock.advance(by: .seconds(1))
      try await rig.handler.waitForCalls(count: 2)
    }
    #expect(Set(rig.calls) == ["o1", "e2"])
    #expect(rig.handler.inputs.map(\.trigger) == [.linger, .linger])
  }

  // Broadway, partition_by: "messages of the same partition are processed in order by the same batch processor". There a key is
  // tied to a processor; here to no slot, and still it has one call at a time.
  @Test
  func `a partition is in order while others run beside it`() async throws {
    let rig = try KeyedRig(.init(batchSize: 1, concurrency: 2, capacity: 100))
    try await rig.run { _ in
      try await rig.send("a1 b1 a2 b2")
      try await rig.handler.waitForCalls(count: 2)
      #expect(rig.calls == ["a1", "b1"])
      try await rig.handler.call(1).succeed()
      try await rig.handler.call(2).succeed()
      #expect(rig.calls == ["a1", "b1", "b2"])
      try await rig.handler.call(0).succeed()
      try await rig.handler.call(3).succeed()
    }
    #expect(rig.calls == ["a1", "b1", "b2", "a2"])
  }

  // Broadway, shutdown: "waits until all events are processed even on incomplete batches".
  @Test
  func `a shutdown processes incomplete batches`() async throws {
    let rig = try KeyedRig(.init(batchSize: 10, linger: .seconds(3600), capacity: 100), handler: .open())
    try await rig.run { _ in try await rig.send("a1 b1 a2") }
    #expect(Set(rig.calls) == ["a1 a2", "b1"])
    #expect(rig.statistics.handled == 3)
  }

  // Broadway, handle_failed: "is called for the whole batch if handle_batch crashes", and not for other keys.
  @Test
  func `a batch that fails as a whole is given to the failure handler, of its key only`() async throws {
    let handler = GatedHandler<Batch<Item>>.open { if $0[0].key == "a" { throw Broken() } }
    let rig = try KeyedRig(.init(batchSize: 2, capacity: 100), handler: handler)
    try await rig.run { _ in
      try await rig.send("a1 b1 a2 b2")
      try await rig.aggregator.flush()
    }
    #expect(rig.failures.inputs.map(\.messages) == [items("a1 a2")])
    #expect(rig.statistics.handled == 2)
  }

  // Kafka with an idempotent producer: with retries and several requests in flight, order in a partition holds. Kafka does it by
  // sequence numbers that the broker checks; here a key has one call at a time.
  @Test(arguments: [1, 5])
  func `order in a partition survives retries with several in flight`(inFlight: Int) async throws {
    let rig = try KeyedRig(
      .init(
        batchSize: 1, concurrency: inFlight, capacity: 100,
        retry: .exponential(maximumAttempts: 2, initial: .seconds(1), maximum: .seconds(1))))
    try await rig.run { _ in
      try await rig.send("p1 p2 q1")
      try await rig.handler.call(0).fail(Broken())
      // The other partition does not wait for the back-off.
      let other = try await rig.handler.call(1)
      #expect(other.input.messages == items("q1"))
      other.succeed()
      try await rig.clock.waitForSleepers()
      await settle()
      #expect(rig.handler.count == 2)
      rig.clock.advance(by: .seconds(1))
      try await rig.handler.call(2).succeed()
      try await rig.handler.call(3).succeed()
    }
    #expect(rig.calls == ["p1", "q1", "p1", "p2"])
  }

  // Kafka, `delivery.timeout.ms` and no retry: a batch that is given up does not hold up the next of its partition.
  @Test
  func `the next batch follows one that was given up`() async throws {
    let rig = try KeyedRig(.init(batchSize: 1, capacity: 100))
    try await rig.run { _ in
      try await rig.send("p1 p2")
      try await rig.handler.call(0).fail(Broken())
      try await rig.handler.call(1).succeed()
    }
    #expect(rig.failures.inputs.map(\.messages) == [items("p1")])
    #expect(rig.statistics.handled == 1)
  }
}
