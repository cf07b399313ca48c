import Batching
import BatchingTesting
import Testing

@Suite("Guarantee 7: bounded", .timeLimit(.minutes(5)))
struct Guarantee07Bounded {
  @Test(arguments: batchSizes, slotCounts)
  func noMoreThanCapacityAreHeld(batchSize: Int, concurrency: Int) async throws {
    let capacity = 2 * batchSize * concurrency + 1
    let rig = try Rig(
      .init(batchSize: batchSize, linger: .seconds(60), concurrency: concurrency, capacity: capacity))
    try await rig.run { rig in
      var accepted = 0
      while rig.aggregator.trySend(accepted) == .accepted, accepted < 1000 { accepted += 1 }
      #expect(accepted == capacity)
      // Those in a handler are held too.
      try await rig.handler.waitForCalls(count: concurrency)
      #expect(rig.aggregator.trySend(accepted) == .full)
      #expect(rig.aggregator.statistics.held == capacity)
      // There is room for as many as are settled, and no more.
      try await rig.handler.call(0).succeed()
      try await eventually("a batch is settled") { rig.aggregator.statistics.handled == batchSize }
      for _ in 0..<batchSize {
        #expect(rig.aggregator.trySend(accepted) == .accepted)
        accepted += 1
      }
      #expect(rig.aggregator.trySend(accepted) == .full)
    }
  }

  @Test(arguments: batchSizes, slotCounts)
  func theDefaultIsEightTimesWhatTheSlotsTake(batchSize: Int, concurrency: Int) async throws {
    let rig = try Rig(.init(batchSize: batchSize, linger: .seconds(60), concurrency: concurrency))
    try await rig.run { rig in
      var accepted = 0
      while rig.aggregator.trySend(accepted) == .accepted, accepted < 1000 { accepted += 1 }
      #expect(accepted == 8 * batchSize * concurrency)
    }
  }

  @Test(arguments: batchSizes)
  func aSendWaitsForRoom(batchSize: Int) async throws {
    let rig = try Rig(.init(batchSize: batchSize, linger: .seconds(60), capacity: batchSize))
    try await rig.run { rig in
      try await rig.aggregator.send(contentsOf: 1...batchSize)
      let send = Begun { try await rig.aggregator.send(100) }
      try await eventually("the sender waits") { rig.aggregator.statistics.waitingSenders == 1 }
      #expect(!send.hasEnded)
      #expect(rig.aggregator.statistics.accepted == batchSize)
      try await rig.handler.call(0).succeed()
      try await send.value
      #expect(rig.aggregator.statistics.waitingSenders == 0)
      #expect(rig.aggregator.statistics.accepted == batchSize + 1)
      #expect(rig.aggregator.statistics.rejected == 0)
    }
  }

  @Test
  func whoWaitsLongestIsServedFirst() async throws {
    let rig = try Rig(.init(batchSize: 1, capacity: 1))
    try await rig.run { rig in
      try await rig.aggregator.send(0)
      var sends: [Begun<Void>] = []
      for message in 1...4 {
        sends.append(Begun { try await rig.aggregator.send(message) })
        try await eventually("a sender waits") { rig.aggregator.statistics.waitingSenders == message }
      }
      for served in 1...4 {
        try await rig.handler.call(served - 1).succeed()
        try await sends[served - 1].value
        #expect(sends.map(\.hasEnded) == (1...4).map { $0 <= served })
        #expect(rig.aggregator.statistics.waitingSenders == 4 - served)
      }
    }
    #expect(rig.handler.batches == [[0], [1], [2], [3], [4]])
  }

  @Test
  func nobodyOvertakesOneWhoWaits() async throws {
    // Each message weighs its value. There is room for 2, but who waits needs 5.
    let rig = try Rig(.init(batchSize: 1, maximumHeldWeight: 10), weight: { $0 })
    try await rig.run { rig in
      try await rig.aggregator.send(8)
      try await rig.handler.waitForCalls(count: 1)
      let heavy = Begun { try await rig.aggregator.send(5) }
      try await eventually("the heavy one waits") { rig.aggregator.statistics.waitingSenders == 1 }
      #expect(rig.aggregator.trySend(1) == .full)
      let light = Begun { try await rig.aggregator.send(2) }
      try await eventually("the light one waits") { rig.aggregator.statistics.waitingSenders == 2 }
      try await rig.handler.call(0).succeed()
      try await heavy.value
      try await light.value
      rig.handler.open()
      try await rig.aggregator.flush()
    }
    #expect(rig.handler.batches == [[8], [5], [2]])
  }

  @Test(arguments: batchSizes)
  func withRejectASendThatFindsNoRoomThrows(batchSize: Int) async throws {
    let rig = try Rig(.init(batchSize: batchSize, linger: .seconds(60), capacity: batchSize + 1, overflow: .reject))
    try await rig.run { rig in
      try await rig.aggregator.send(contentsOf: 0...batchSize)
      await #expect(throws: AggregatorError.full) { try await rig.aggregator.send(100) }
      #expect(rig.aggregator.trySend(100) == .full)
      #expect(rig.aggregator.statistics.rejected == 2)
      #expect(rig.aggregator.statistics.accepted == batchSize + 1)
      #expect(rig.aggregator.statistics.waitingSenders == 0)
    }
    #expect(rig.fates.all == .of(handled: Array(0...batchSize)))
  }

  @Test(arguments: batchSizes)
  func withRejectASequenceIsAcceptedAsFarAsThereIsRoom(batchSize: Int) async throws {
    let rig = try Rig(.init(batchSize: batchSize, linger: .seconds(60), capacity: batchSize + 1, overflow: .reject))
    try await rig.run { rig in
      let error = await #expect(throws: AggregatorError.self) {
        try await rig.aggregator.send(contentsOf: 0...(2 * batchSize))
      }
      #expect(error == .full)
      #expect(error?.acceptedCount == batchSize + 1)
    }
    #expect(rig.fates.all == .of(handled: Array(0...batchSize)))
  }

  // MARK: - Weight; each message weighs its own value

  @Test
  func noMoreThanMaximumHeldWeightIsHeld() async throws {
    // Here a message weighs its last digit.
    let rig = try Rig(
      .init(batchSize: 2, linger: .seconds(60), overflow: .reject, maximumHeldWeight: 10), weight: { $0 % 10 })
    try await rig.run { rig in
      try await rig.aggregator.send(contentsOf: [3, 4])
      try await rig.handler.waitForCalls(count: 1)
      #expect(rig.aggregator.trySend(4) == .full)
      #expect(rig.aggregator.trySend(13) == .accepted)
      #expect(rig.aggregator.trySend(1) == .full)
      try await rig.handler.call(0).succeed()
      try await eventually("the batch is settled") { rig.aggregator.statistics.handled == 2 }
      #expect(rig.aggregator.trySend(8) == .full)
      #expect(rig.aggregator.trySend(7) == .accepted)
    }
    #expect(rig.handler.batches == [[3, 4], [13, 7]])
  }

  @Test
  func aSendWaitsForWeight() async throws {
    let rig = try Rig(.init(batchSize: 1, maximumHeldWeight: 10), weight: { $0 })
    try await rig.run { rig in
      try await rig.aggregator.send(4)
      try await rig.aggregator.send(5)
      let send = Begun { try await rig.aggregator.send(7) }
      try await eventually("the sender waits") { rig.aggregator.statistics.waitingSenders == 1 }
      try await rig.handler.call(0).succeed()
      try await rig.handler.waitForCalls(count: 2)
      await settle()
      #expect(!send.hasEnded, "4 are free of 10, but it needs 7")
      try await rig.handler.call(1).succeed()
      try await send.value
    }
    #expect(rig.handler.batches == [[4], [5], [7]])
  }

  @Test(arguments: [AggregatorConfiguration(batchSize: 1, maximumHeldWeight: 10), .init(batchSize: 1, capacity: 1)])
  func aMessageThatNeverFitsIsRefusedInASequenceThatHadToWaitToo(_ limit: AggregatorConfiguration) async throws {
    var configuration = limit
    configuration.maximumBatchWeight = 7
    let rig = try Rig(configuration, weight: { $0 })
    try await rig.run { rig in
      let send = Begun { try await rig.aggregator.send(contentsOf: [6, 5, 11, 1]) }
      try await eventually("it waits for room for 5") { rig.aggregator.statistics.waitingSenders == 1 }
      rig.handler.open()
      let error = await send.error as? AggregatorError
      #expect(error == .tooHeavy)
      #expect(error?.acceptedCount == 2)
    }
    #expect(rig.handler.batches == [[6], [5]])
    #expect(rig.aggregator.statistics.rejected == 1)
  }

  @Test
  func aMessageThatNeverFitsIsRefusedAndNotWaitedFor() async throws {
    let rig = try Rig(.init(batchSize: 2, linger: .seconds(60), maximumHeldWeight: 10), weight: { $0 })
    try await rig.run { rig in
      await #expect(throws: AggregatorError.tooHeavy) { try await rig.aggregator.send(11) }
      #expect(rig.aggregator.trySend(11) == .tooHeavy)
      #expect(rig.aggregator.statistics == .having { $0.rejected = 2 })
      #expect(rig.aggregator.trySend(10) == .accepted)
    }
  }
}
