import Batching
import BatchingTesting
import Testing

@Suite("Guarantee 2: size", .timeLimit(.minutes(5)))
struct Guarantee02Size {
  @Test(arguments: batchSizes, slotCounts)
  func noBatchIsEmptyOrLargerThanBatchSize(batchSize: Int, concurrency: Int) async throws {
    let rig = try Rig(.init(batchSize: batchSize, linger: .zero, concurrency: concurrency), handler: .open())
    try await rig.run { rig in
      try await rig.aggregator.send(contentsOf: 1...50)
      for message in 51...60 { _ = rig.aggregator.trySend(message) }
      try await rig.aggregator.flush()
    }
    #expect(rig.handler.batches.allSatisfy { (1...batchSize).contains($0.count) })
  }

  @Test(arguments: batchSizes)
  func aBacklogIsHandledInFullBatches(batchSize: Int) async throws {
    let rig = try Rig(.init(batchSize: batchSize, linger: .seconds(60)))
    try await rig.run { rig in
      try await rig.aggregator.send(contentsOf: 0..<(5 * batchSize))
      try await rig.handler.waitForCalls(count: 1)
      rig.handler.open()
      try await rig.handler.waitForCalls(count: 5)
    }
    #expect(rig.handler.batches == (0..<5).map { Array($0 * batchSize..<($0 + 1) * batchSize) })
  }

  @Test(arguments: batchSizes, slotCounts)
  func aFullBatchStartsAtOnceWhenASlotIsFree(batchSize: Int, concurrency: Int) async throws {
    let rig = try Rig(.init(batchSize: batchSize, linger: .seconds(3600), concurrency: concurrency))
    try await rig.run { rig in
      for slot in 0..<concurrency {
        for message in 0..<batchSize {
          #expect(rig.handler.count == slot)
          try await rig.aggregator.send(slot * batchSize + message)
        }
        let call = try await rig.handler.call(slot)
        #expect(call.input.messages == Array(slot * batchSize..<(slot + 1) * batchSize))
        #expect(call.input.trigger == .size)
        #expect(call.input.attempt == 1)
      }
      #expect(rig.clock.elapsed == .zero)
    }
  }

  @Test(arguments: batchSizes)
  func withNothingHeldTheHandlerIsNotCalled(batchSize: Int) async throws {
    let rig = try Rig(.init(batchSize: batchSize, linger: .milliseconds(10)), handler: .open())
    try await rig.run { rig in
      try await rig.aggregator.flush()
      try await rig.aggregator.send(contentsOf: [])
      try await rig.aggregator.send(contentsOf: 1...batchSize)
      try await rig.handler.waitForCalls(count: 1)
      try await rig.aggregator.flush()
      // The sleep for the batch that was full first, if there is one, ends with nothing to hand out.
      rig.clock.advance(by: .milliseconds(20))
      await settle()
      try await rig.aggregator.flush()
    }
    #expect(rig.handler.batches == [Array(1...batchSize)])
  }

  // MARK: - Weight; each message weighs its own value

  @Test
  func aBatchThatReachesItsMaximumWeightStartsAtOnce() async throws {
    let rig = try Rig(.init(batchSize: 10, linger: .seconds(60), maximumBatchWeight: 7), weight: { $0 })
    try await rig.run { rig in
      try await rig.aggregator.send(contentsOf: [3, 4])
      let call = try await rig.handler.call(0)
      #expect(call.input.messages == [3, 4])
      #expect(call.input.trigger == .weight)
    }
  }

  @Test
  func aMessageThatWouldMakeTheBatchTooHeavyStartsTheNext() async throws {
    let rig = try Rig(
      .init(batchSize: 10, linger: .seconds(60), maximumBatchWeight: 7), handler: .open(), weight: { $0 })
    try await rig.run { rig in
      try await rig.aggregator.send(5)
      #expect(rig.handler.count == 0)
      try await rig.aggregator.send(3)
      let call = try await rig.handler.call(0)
      #expect(call.input.messages == [5])
      #expect(call.input.trigger == .weight)
      await settle()
      #expect(rig.handler.count == 1)
    }
    #expect(rig.handler.batches == [[5], [3]])
  }

  @Test
  func aBacklogIsCutByWeightToo() async throws {
    // Here a message weighs its last digit.
    let rig = try Rig(.init(batchSize: 3, linger: .zero, capacity: 50, maximumBatchWeight: 7), weight: { $0 % 10 })
    try await rig.run { rig in
      try await rig.aggregator.send(7)
      try await rig.handler.waitForCalls(count: 1)
      try await rig.aggregator.send(contentsOf: [13, 23, 33, 41, 51, 61, 77, 86, 92])
    }
    #expect(rig.handler.batches == [[7], [13, 23], [33, 41, 51], [61], [77], [86], [92]])
  }

  @Test
  func aMessageOfTheMaximumWeightIsABatchOfItsOwn() async throws {
    let rig = try Rig(.init(batchSize: 10, linger: .seconds(60), maximumBatchWeight: 7), weight: { $0 })
    try await rig.run { rig in
      try await rig.aggregator.send(7)
      let call = try await rig.handler.call(0)
      #expect(call.input.messages == [7])
    }
  }

  @Test
  func aMessageThatIsTooHeavyForABatchIsRefused() async throws {
    let rig = try Rig(
      .init(batchSize: 10, linger: .seconds(60), maximumBatchWeight: 7), handler: .open(), weight: { $0 })
    try await rig.run { rig in
      await #expect(throws: AggregatorError.tooHeavy) { try await rig.aggregator.send(8) }
      #expect(rig.aggregator.trySend(8) == .tooHeavy)
      #expect(rig.aggregator.statistics == .having { $0.rejected = 2 })
      let error = await #expect(throws: AggregatorError.self) {
        try await rig.aggregator.send(contentsOf: [1, 2, 8, 3])
      }
      #expect(error == .tooHeavy)
      #expect(error?.acceptedCount == 2)
      #expect(rig.aggregator.statistics.accepted == 2)
    }
    #expect(rig.fates.all == .of(handled: [1, 2]))
  }
}
