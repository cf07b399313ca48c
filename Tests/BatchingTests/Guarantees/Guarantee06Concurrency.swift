import Batching
import BatchingTesting
import Testing

@Suite("Guarantee 6: concurrency", .timeLimit(.minutes(5)))
struct Guarantee06Concurrency {
  @Test(arguments: batchSizes, slotCounts)
  func allSlotsAreUsedAndNoMore(batchSize: Int, concurrency: Int) async throws {
    let rig = try Rig(.init(batchSize: batchSize, linger: .seconds(60), concurrency: concurrency))
    let batches = concurrency + 3
    try await rig.run { rig in
      try await rig.aggregator.send(contentsOf: 0..<(batches * batchSize))
      try await rig.handler.waitForCalls(count: concurrency)
      await settle()
      #expect(rig.handler.count == concurrency)
      #expect(rig.aggregator.statistics.inFlight == concurrency * batchSize)
      // Whoever is done is followed by one.
      for number in 0..<3 {
        try await rig.handler.call(number).succeed()
        try await rig.handler.waitForCalls(count: concurrency + number + 1)
        await settle()
        #expect(rig.handler.count == concurrency + number + 1)
        #expect(rig.handler.running == concurrency)
      }
    }
    #expect(rig.handler.mostAtOnce == concurrency)
    #expect(rig.handler.count == batches)
  }

  @Test(arguments: slotCounts)
  func slotsThatHaveBeenIdleAreUsedAgain(concurrency: Int) async throws {
    let rig = try Rig(.init(batchSize: 1, concurrency: concurrency))
    try await rig.run { rig in
      for round in 0..<5 {
        for slot in 0..<concurrency { try await rig.aggregator.send(round * concurrency + slot) }
        try await rig.handler.waitForCalls(count: (round + 1) * concurrency)
        #expect(rig.handler.running == concurrency)
        for slot in 0..<concurrency { try await rig.handler.call(round * concurrency + slot).succeed() }
        try await rig.aggregator.flush()
      }
    }
    #expect(rig.handler.mostAtOnce == concurrency)
  }

  @Test(arguments: slotCounts)
  func aSlotWhoseHandlerFailedIsUsedAgain(concurrency: Int) async throws {
    let rig = try Rig(.init(batchSize: 1, concurrency: concurrency))
    try await rig.run { rig in
      try await rig.aggregator.send(contentsOf: 0..<(2 * concurrency))
      try await rig.handler.waitForCalls(count: concurrency)
      for slot in 0..<concurrency { try await rig.handler.call(slot).fail(Failure()) }
      try await rig.handler.waitForCalls(count: 2 * concurrency)
      #expect(rig.handler.running == concurrency)
    }
  }

  @Test
  func theDrainUsesAllSlots() async throws {
    let rig = try Rig(.init(batchSize: 2, linger: .seconds(60), concurrency: 4))
    try await rig.run { rig in
      try await rig.aggregator.send(contentsOf: 0..<16)
      rig.aggregator.shutdown()
      try await rig.handler.waitForCalls(count: 4)
      #expect(rig.handler.running == 4)
    }
    #expect(rig.handler.mostAtOnce == 4)
  }
}
