import Batching
import BatchingTesting
import Testing

@Suite("Guarantee 4: one open batch for all producers", .timeLimit(.minutes(5)))
struct Guarantee04OneOpenBatch {
  @Test(arguments: batchSizes, slotCounts)
  func messagesOfManyTasksFillOneBatchAfterTheOther(batchSize: Int, concurrency: Int) async throws {
    let rig = try Rig(.init(batchSize: batchSize, linger: .seconds(60), concurrency: concurrency), handler: .open())
    let count = 3 * batchSize
    try await rig.run { rig in
      try await withThrowingTaskGroup { group in
        for message in 0..<count {
          group.addTask { try await rig.aggregator.send(message) }
        }
        try await group.waitForAll()
      }
      try await rig.handler.waitForCalls(count: 3)
      #expect(rig.handler.batches.map(\.count) == [batchSize, batchSize, batchSize])
      #expect(rig.aggregator.statistics.batches[.size] == 3)
    }
    #expect(rig.handler.batches.joined().sorted() == Array(0..<count))
  }

  @Test(arguments: slotCounts)
  func theWaitOfTheFirstIsTheWaitOfAll(concurrency: Int) async throws {
    let rig = try Rig(.init(batchSize: 7, linger: .milliseconds(10), concurrency: concurrency))
    try await rig.run { rig in
      for message in 1...4 {
        try await Begun { try await rig.aggregator.send(message) }.value
        try await rig.clock.waitForSleeper(until: .milliseconds(10))
        rig.clock.advance(by: .milliseconds(2))
      }
      #expect(rig.handler.count == 0)
      rig.clock.advance(to: .milliseconds(10))
      let call = try await rig.handler.call(0)
      #expect(call.input.messages == [1, 2, 3, 4])
      await settle()
      #expect(rig.handler.count == 1)
    }
  }

  @Test(arguments: slotCounts)
  func whileAllSlotsAreBusyTheBacklogFillsBatches(concurrency: Int) async throws {
    let rig = try Rig(.init(batchSize: 3, linger: .zero, concurrency: concurrency, capacity: 100))
    try await rig.run { rig in
      for message in 0..<concurrency {
        try await rig.aggregator.send(message)
        try await rig.handler.waitForCalls(count: message + 1)
      }
      try await withThrowingTaskGroup { group in
        for producer in 1...4 {
          group.addTask {
            for message in 0..<3 { try await rig.aggregator.send(producer * 100 + message) }
          }
        }
        try await group.waitForAll()
      }
    }
    #expect(rig.handler.batches.map(\.count).sorted() == Array(repeating: 1, count: concurrency) + [3, 3, 3, 3])
  }
}
