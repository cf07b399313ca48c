import Batching
import BatchingTesting
import Testing

@Suite("Guarantee 5: order", .timeLimit(.minutes(5)))
struct Guarantee05Order {
  @Test(arguments: batchSizes)
  func withOneSlotMessagesAreHandledInTheOrderOfTheirSends(batchSize: Int) async throws {
    let rig = try Rig(.init(batchSize: batchSize, capacity: 100), handler: .open())
    try await rig.run { rig in
      for round in 0..<5 {
        let first = round * 10
        try await rig.aggregator.send(first)
        #expect(rig.aggregator.trySend(first + 1) == .accepted)
        try await rig.aggregator.send(contentsOf: (first + 2)...(first + 6))
        // Other tasks and a thread that is no task's, each after the one before.
        try await Begun { try await rig.aggregator.send(first + 7) }.value
        try await Task { try await rig.aggregator.send(first + 8) }.value
        #expect(try await onThread { rig.aggregator.trySend(first + 9) } == .accepted)
      }
    }
    #expect(rig.fates.handled == Array(0..<50))
    #expect(rig.handler.batches.flatMap { $0 } == Array(0..<50))
  }

  @Test(arguments: batchSizes)
  func withOneSlotABatchWaitsForTheRetriesOfTheOneBefore(batchSize: Int) async throws {
    let rig = try Rig(
      .init(
        batchSize: batchSize, linger: .zero,
        retry: .exponential(maximumAttempts: 3, initial: .seconds(1), maximum: .seconds(1))))
    let size = batchSize
    try await rig.aggregator.send(contentsOf: 0..<(2 * size))
    try await rig.run { rig in
      for attempt in 0..<2 {
        try await rig.handler.call(attempt).fail(Failure())
        try await rig.clock.waitForSleepers()
        await settle()
        #expect(rig.handler.count == attempt + 1)
        rig.clock.advance(by: .seconds(1))
      }
      try await rig.handler.call(2).succeed()
      try await rig.handler.waitForCalls(count: 4)
    }
    let first = Array(0..<size)
    #expect(rig.handler.batches == [first, first, first, Array(size..<(2 * size))])
  }

  @Test(arguments: batchSizes)
  func thoseThatWaitForRoomComeInTheirOrder(batchSize: Int) async throws {
    let rig = try Rig(.init(batchSize: batchSize, capacity: batchSize))
    try await rig.run { rig in
      try await rig.aggregator.send(contentsOf: 0..<batchSize)
      var sends: [Begun<Void>] = []
      for message in batchSize..<(batchSize + 9) {
        sends.append(Begun { try await rig.aggregator.send(message) })
        try await eventually("a sender waits") { rig.aggregator.statistics.waitingSenders == sends.count }
      }
      rig.handler.open()
      for send in sends { try await send.value }
    }
    #expect(rig.fates.handled == Array(0..<(batchSize + 9)))
  }

  @Test(arguments: batchSizes, [2, 4])
  func withManySlotsEachBatchHoldsTheNextMessages(batchSize: Int, concurrency: Int) async throws {
    let rig = try Rig(.init(batchSize: batchSize, concurrency: concurrency), handler: .open())
    try await rig.run { rig in
      for message in 0..<50 { try await rig.aggregator.send(message) }
    }
    // Which call began first is not said; what is in them is.
    let batches = rig.handler.batches.sorted { $0[0] < $1[0] }
    #expect(batches.flatMap { $0 } == Array(0..<50))
  }

  @Test
  func aSequenceStaysInOrderWhileItWaitsForRoom() async throws {
    let rig = try Rig(.init(batchSize: 3, linger: .zero, capacity: 4))
    try await rig.run { rig in
      let send = Begun { try await rig.aggregator.send(contentsOf: 0..<40) }
      try await eventually("the sender waits") { rig.aggregator.statistics.waitingSenders == 1 }
      rig.handler.open()
      try await send.value
    }
    #expect(rig.fates.handled == Array(0..<40))
  }
}
