import Batching
import BatchingTesting
import Testing

/// Pain 4: the Go bundler's `Flush` hangs when the last handler ends just as it begins to wait (google-api-go-client#475).
@Suite("Regression: flush loses its wake-up", .timeLimit(.minutes(5)))
struct FlushLosesItsWakeUp {
  @Test(arguments: [1, 2, 7], slotCounts)
  func eachFlushReturnsWithItsMessageSettled(batchSize: Int, concurrency: Int) async throws {
    let aggregator = try Aggregator<Int>(
      configuration: .init(batchSize: batchSize, linger: .seconds(3600), concurrency: concurrency)
    ) { batch in
      if batch.sequenceNumber.isMultiple(of: 7) { throw Failure() }
    }
    try await whileRunning(aggregator) { _ in
      try await withThrowingTaskGroup { group in
        for _ in 0..<4 {
          group.addTask {
            for message in 0..<300 {
              try await aggregator.send(message)
              try await aggregator.flush()
            }
          }
        }
        try await group.waitForAll()
      }
    }
    let statistics = aggregator.statistics
    #expect(statistics.handled + statistics.failed == 1200)
  }

  @Test
  func aFlushThatBeginsAsTheLastHandlerEnds() async throws {
    let rig = try Rig(.init(batchSize: 1))
    try await rig.run { rig in
      for message in 0..<500 {
        try await rig.aggregator.send(message)
        let call = try await rig.handler.call(message)
        async let flush: Void = rig.aggregator.flush()
        call.succeed()
        try await flush
      }
    }
    #expect(rig.aggregator.statistics.handled == 500)
  }

  @Test
  func flushesThatAreCancelledLeaveTheOthersAwake() async throws {
    let rig = try Rig(.init(batchSize: 1))
    try await rig.run { rig in
      for message in 0..<200 {
        try await rig.aggregator.send(message)
        let flushes = (0..<4).map { _ in Begun { try await rig.aggregator.flush() } }
        async let end: Void = rig.handler.call(message).succeed()
        flushes[0].cancel()
        flushes[2].cancel()
        try await end
        try await flushes[1].value
        try await flushes[3].value
      }
    }
    #expect(rig.aggregator.statistics.handled == 200)
  }
}
