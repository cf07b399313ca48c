import Batching
import BatchingTesting
import Testing

@Suite("Guarantee 9: flush", .timeLimit(.minutes(5)))
struct Guarantee09Flush {
  @Test(arguments: batchSizes, slotCounts)
  func itReturnsWhenAllThatWasAcceptedBeforeIsHandled(batchSize: Int, concurrency: Int) async throws {
    let rig = try Rig(.init(batchSize: batchSize, linger: .seconds(60), concurrency: concurrency))
    let count = 2 * batchSize + 1
    try await rig.run { rig in
      try await rig.aggregator.send(contentsOf: 0..<count)
      let flush = Begun { try await rig.aggregator.flush() }
      // Batch by batch, and the last is not full.
      for number in 0..<3 {
        let call = try await rig.handler.call(number)
        await settle()
        #expect(!flush.hasEnded)
        call.succeed()
      }
      try await flush.value
      #expect(rig.aggregator.statistics.handled == count)
      #expect(rig.clock.elapsed == .zero)
    }
  }

  @Test
  func itWaitsForTheSlowestNotForTheLast() async throws {
    let rig = try Rig(.init(batchSize: 1, concurrency: 2))
    try await rig.run { rig in
      try await rig.aggregator.send(contentsOf: 1...2)
      let flush = Begun { try await rig.aggregator.flush() }
      try await rig.handler.waitForCalls(count: 2)
      // The two calls may have begun in either order.
      let slow = try #require(rig.handler.batches.firstIndex(of: [1]))
      try await rig.handler.call(1 - slow).succeed()
      try await eventually("the second is handled") { rig.aggregator.statistics.handled == 1 }
      await settle()
      #expect(!flush.hasEnded)
      try await rig.handler.call(slow).succeed()
      try await flush.value
    }
  }

  @Test(arguments: batchSizes)
  func itWaitsForOnFailure(batchSize: Int) async throws {
    let rig = try Rig(.init(batchSize: batchSize), handler: .open { _ in throw Failure() }, failures: .gated())
    try await rig.run { rig in
      try await rig.aggregator.send(contentsOf: 1...batchSize)
      let flush = Begun { try await rig.aggregator.flush() }
      let call = try await rig.failures.call(0)
      await settle()
      #expect(!flush.hasEnded)
      call.succeed()
      try await flush.value
      #expect(rig.aggregator.statistics.failed == batchSize)
    }
  }

  @Test
  func itWaitsForTheDropped() async throws {
    let rig = try Rig(.init(batchSize: 1, capacity: 2, overflow: .dropOldest), failures: .gated())
    try await rig.run { rig in
      try await rig.aggregator.send(1)
      try await rig.handler.waitForCalls(count: 1)
      try await rig.aggregator.send(contentsOf: [2, 3])
      let flush = Begun { try await rig.aggregator.flush() }
      rig.handler.open()
      let call = try await rig.failures.call(0)
      try await eventually("the others are handled") { rig.aggregator.statistics.handled == 2 }
      await settle()
      #expect(!flush.hasEnded)
      call.succeed()
      try await flush.value
    }
    #expect(rig.fates.all == .of(handled: [1, 3], dropped: [2]))
  }

  @Test
  func itWaitsForThoseThatArePushedOutAfterItBegan() async throws {
    let rig = try Rig(.init(batchSize: 1, capacity: 2, overflow: .dropOldest), failures: .gated())
    try await rig.run { rig in
      try await rig.aggregator.send(1)
      try await rig.handler.waitForCalls(count: 1)
      try await rig.aggregator.send(2)
      let flush = Begun { try await rig.aggregator.flush() }
      try await rig.aggregator.send(3)
      rig.handler.open()
      let call = try await rig.failures.call(0)
      try await eventually("the others are handled") { rig.aggregator.statistics.handled == 2 }
      await settle()
      #expect(!flush.hasEnded)
      call.succeed()
      try await flush.value
    }
    #expect(rig.fates.all == .of(handled: [1, 3], dropped: [2]))
  }

  @Test
  func itWaitsForRetries() async throws {
    let rig = try Rig(
      .init(
        batchSize: 1, linger: .zero,
        retry: .exponential(maximumAttempts: 2, initial: .seconds(1), maximum: .seconds(1))))
    try await rig.run { rig in
      try await rig.aggregator.send(1)
      let flush = Begun { try await rig.aggregator.flush() }
      try await rig.handler.call(0).fail(Failure())
      try await rig.clock.waitForSleepers()
      #expect(!flush.hasEnded)
      rig.clock.advance(by: .seconds(1))
      let call = try await rig.handler.call(1)
      #expect(!flush.hasEnded)
      call.succeed()
      try await flush.value
    }
  }

  @Test(arguments: batchSizes)
  func laterMessagesDoNotDelayIt(batchSize: Int) async throws {
    let rig = try Rig(.init(batchSize: batchSize, linger: .zero))
    try await rig.run { rig in
      try await rig.aggregator.send(1)
      let flush = Begun { try await rig.aggregator.flush() }
      let call = try await rig.handler.call(0)
      try await rig.aggregator.send(contentsOf: 2...4)
      call.succeed()
      // The later ones are still in the handler.
      try await rig.handler.waitForCalls(count: 2)
      try await flush.value
      #expect(rig.aggregator.statistics.handled == 1)
    }
  }

  @Test(arguments: [2, 3, 7])
  func aLaterMessageDoesNotDelayItInABatchThatWasDueAlready(batchSize: Int) async throws {
    // The batch of 2 is due and waits for the slot when the flush begins; 3 comes after that, and fails for long.
    let rig = try Rig(
      .init(
        batchSize: batchSize, linger: .zero,
        retry: .exponential(maximumAttempts: 2, initial: .seconds(60), maximum: .seconds(60))),
      handler: .gated { batch in
        if let offset = batch.firstIndex(of: 3), batch.attempt == 1 { throw PartialBatchFailure([offset: Failure()]) }
      })
    try await rig.run { rig in
      try await rig.aggregator.send(1)
      try await rig.handler.waitForCalls(count: 1)
      try await rig.aggregator.send(2)
      let flush = Begun { try await rig.aggregator.flush() }
      try await rig.aggregator.send(3)
      rig.handler.open()
      try await flush.value
      #expect(rig.fates.handled == [1, 2])
      // It sleeps until its second attempt.
      try await rig.clock.waitForSleepers()
      rig.clock.advance(by: .seconds(60))
      try await rig.aggregator.flush()
    }
  }

  @Test
  func itDoesNotWaitForSendersThatWaited() async throws {
    let rig = try Rig(.init(batchSize: 1, capacity: 1))
    try await rig.run { rig in
      try await rig.aggregator.send(1)
      let send = Begun { try await rig.aggregator.send(2) }
      try await eventually("the sender waits") { rig.aggregator.statistics.waitingSenders == 1 }
      let flush = Begun { try await rig.aggregator.flush() }
      try await rig.handler.call(0).succeed()
      try await flush.value
      try await send.value
      #expect(rig.aggregator.statistics.handled == 1)
    }
  }

  @Test
  func withNothingHeldItReturnsAtOnce() async throws {
    let rig = try Rig(.init(batchSize: 2))
    try await rig.run { rig in try await rig.aggregator.flush() }
    #expect(rig.handler.count == 0)
  }

  @Test(arguments: batchSizes)
  func beforeRunItWaits(batchSize: Int) async throws {
    let rig = try Rig(.init(batchSize: batchSize, linger: .seconds(60)), handler: .open())
    try await rig.aggregator.send(1)
    let flush = Begun { try await rig.aggregator.flush() }
    await settle()
    #expect(!flush.hasEnded)
    try await rig.run { _ in
      try await flush.value
      #expect(rig.fates.handled == [1])
    }
  }

  @Test
  func beforeRunItCanBeCancelled() async throws {
    let rig = try Rig(.init(batchSize: 2))
    try await rig.aggregator.send(1)
    let flush = Begun { try await rig.aggregator.flush() }
    flush.cancel()
    #expect(await flush.error is CancellationError)
    try await rig.run { _ in }
    #expect(rig.fates.all == .of(handled: [1]))
  }

  @Test(arguments: batchSizes)
  func aShutdownDoesNotStopIt(batchSize: Int) async throws {
    let rig = try Rig(.init(batchSize: batchSize))
    try await rig.run { rig in
      try await rig.aggregator.send(contentsOf: 0..<(2 * batchSize))
      let before = Begun { try await rig.aggregator.flush() }
      rig.aggregator.shutdown()
      let during = Begun { try await rig.aggregator.flush() }
      try await rig.handler.waitForCalls(count: 1)
      #expect(!before.hasEnded)
      #expect(!during.hasEnded)
      rig.handler.open()
      try await before.value
      try await during.value
      #expect(rig.aggregator.statistics.handled == 2 * batchSize)
    }
  }

  @Test
  func afterTheEndItReturnsAtOnce() async throws {
    let rig = try Rig(.init(batchSize: 2), handler: .open())
    try await rig.run { rig in try await rig.aggregator.send(1) }
    try await rig.aggregator.flush()
  }

  @Test
  func afterACancelledRunItReturnsAtOnce() async throws {
    let rig = try Rig(.init(batchSize: 2))
    try await rig.run { rig, run in
      try await rig.aggregator.send(1)
      let during = Begun { try await rig.aggregator.flush() }
      run.cancel()
      _ = await run.result
      try await during.value
    }
    try await rig.aggregator.flush()
    #expect(rig.fates.all == .of(failed: [1], because: CancellationError()))
  }

  @Test
  func manyAtOnceAllReturn() async throws {
    let rig = try Rig(.init(batchSize: 3, linger: .seconds(60)), handler: .open())
    try await rig.run { rig in
      try await withThrowingTaskGroup { group in
        for message in 0..<200 {
          group.addTask {
            try await rig.aggregator.send(message)
            try await rig.aggregator.flush()
            #expect(rig.fates.each[message] == .handled)
          }
        }
        try await group.waitForAll()
      }
    }
  }
}
