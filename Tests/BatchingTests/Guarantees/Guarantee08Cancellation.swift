import Batching
import BatchingTesting
import Testing

@Suite("Guarantee 8: cancellation", .timeLimit(.minutes(5)))
struct Guarantee08Cancellation {
  @Test(arguments: batchSizes)
  func aSendThatIsCancelledWhileItWaitsWasNotAccepted(batchSize: Int) async throws {
    let rig = try Rig(.init(batchSize: batchSize, linger: .zero, capacity: batchSize))
    try await rig.run { rig in
      try await rig.aggregator.send(contentsOf: 1...batchSize)
      let send = Begun { try await rig.aggregator.send(100) }
      try await eventually("the sender waits") { rig.aggregator.statistics.waitingSenders == 1 }
      send.cancel()
      #expect(await send.error is CancellationError)
      #expect(rig.aggregator.statistics.waitingSenders == 0)
      #expect(rig.aggregator.statistics.accepted == batchSize)
      #expect(rig.aggregator.statistics.rejected == 0)
      rig.handler.open()
      try await rig.aggregator.flush()
    }
    #expect(rig.fates.all == .of(handled: Array(1...batchSize)))
  }

  @Test(arguments: batchSizes)
  func aSendThatFindsRoomIsAcceptedInACancelledTaskToo(batchSize: Int) async throws {
    let rig = try Rig(.init(batchSize: batchSize, linger: .zero), handler: .open())
    try await rig.run { rig in
      let gate = Watched(false)
      let task = Begun {
        await gate.waitIgnoringCancellation { $0 }
        try #require(Task.isCancelled)
        try await rig.aggregator.send(1)
        try await rig.aggregator.send(contentsOf: 2...3)
      }
      task.cancel()
      gate.change { $0 = true }
      try await task.value
      try await rig.aggregator.flush()
    }
    #expect(rig.fates.all == .of(handled: [1, 2, 3]))
  }

  @Test
  func aSendThatFindsNoRoomThrowsAtOnceInACancelledTask() async throws {
    let rig = try Rig(.init(batchSize: 1, capacity: 1))
    try await rig.run { rig in
      try await rig.aggregator.send(1)
      let gate = Watched(false)
      let task = Begun {
        await gate.waitIgnoringCancellation { $0 }
        try await rig.aggregator.send(2)
      }
      task.cancel()
      gate.change { $0 = true }
      #expect(await task.error is CancellationError)
      #expect(rig.aggregator.statistics.accepted == 1)
    }
    #expect(rig.fates.all == .of(handled: [1]))
  }

  @Test(arguments: batchSizes)
  func aSequenceThatIsCancelledTellsHowManyWereAccepted(batchSize: Int) async throws {
    let rig = try Rig(.init(batchSize: batchSize, linger: .zero, capacity: batchSize))
    try await rig.run { rig in
      let send = Begun { try await rig.aggregator.send(contentsOf: 0..<100) }
      try await eventually("the sender waits") { rig.aggregator.statistics.waitingSenders == 1 }
      send.cancel()
      let error = await send.error as? AggregatorError
      #expect(error == .cancelled)
      #expect(error?.acceptedCount == batchSize)
      #expect(rig.aggregator.statistics.accepted == batchSize)
      rig.handler.open()
      try await rig.aggregator.flush()
    }
    #expect(rig.fates.all == .of(handled: Array(0..<batchSize)))
  }

  @Test
  func whoGoesLeavesTheOthersInTheirOrder() async throws {
    let rig = try Rig(.init(batchSize: 1, capacity: 1))
    try await rig.run { rig in
      try await rig.aggregator.send(0)
      var sends: [Begun<Void>] = []
      for message in 1...4 {
        sends.append(Begun { try await rig.aggregator.send(message) })
        try await eventually("a sender waits") { rig.aggregator.statistics.waitingSenders == message }
      }
      for gone in [0, 2] {
        sends[gone].cancel()
        #expect(await sends[gone].error is CancellationError)
      }
      #expect(rig.aggregator.statistics.waitingSenders == 2)
      rig.handler.open()
      try await sends[1].value
      try await sends[3].value
      try await rig.aggregator.flush()
    }
    #expect(rig.handler.batches == [[0], [2], [4]])
  }

  @Test
  func whoGoesLetsInThoseBehindItThatFit() async throws {
    // A message weighs its last digit: room for 2 is left, the first in line needs 5, those behind it 1 each.
    let rig = try Rig(.init(batchSize: 1, maximumHeldWeight: 10), weight: { $0 % 10 })
    try await rig.run { rig in
      try await rig.aggregator.send(8)
      try await rig.handler.waitForCalls(count: 1)
      let heavy = Begun { try await rig.aggregator.send(5) }
      try await eventually("the heavy one waits") { rig.aggregator.statistics.waitingSenders == 1 }
      let light = [11, 21].map { message in Begun { try await rig.aggregator.send(message) } }
      try await eventually("the light ones wait") { rig.aggregator.statistics.waitingSenders == 3 }
      heavy.cancel()
      #expect(await heavy.error is CancellationError)
      for send in light { try await send.value }
      #expect(rig.aggregator.statistics.held == 3)
    }
  }

  @Test(arguments: batchSizes)
  func aFlushThatIsCancelledDisturbsNothing(batchSize: Int) async throws {
    let rig = try Rig(.init(batchSize: batchSize))
    try await rig.run { rig in
      try await rig.aggregator.send(contentsOf: 1...batchSize)
      let cancelled = Begun { try await rig.aggregator.flush() }
      let other = Begun { try await rig.aggregator.flush() }
      try await rig.handler.waitForCalls(count: 1)
      cancelled.cancel()
      #expect(await cancelled.error is CancellationError)
      #expect(!other.hasEnded)
      try await rig.handler.call(0).succeed()
      try await other.value
    }
    #expect(rig.fates.all == .of(handled: Array(1...batchSize)))
  }
}
