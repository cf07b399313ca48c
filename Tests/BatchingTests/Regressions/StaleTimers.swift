import Batching
import BatchingTesting
import Testing

/// Pain 7: timers that tick freely, or that belong to a batch that is gone (akka.net#7879).
@Suite("Regression: stale timers", .timeLimit(.minutes(5)))
struct StaleTimers {
  @Test(arguments: [2, 3, 7])
  func theTimerOfABatchThatWasFullDoesNotCutTheNext(batchSize: Int) async throws {
    let rig = try Rig(.init(batchSize: batchSize, linger: .milliseconds(10)))
    try await rig.run { rig in
      try await rig.aggregator.send(0)
      try await rig.clock.waitForSleeper(until: .milliseconds(10))
      rig.clock.advance(by: .milliseconds(5))
      try await rig.aggregator.send(contentsOf: 1..<batchSize)
      try await rig.handler.call(0).succeed()
      try await rig.aggregator.send(100)
      // At 10 ms the first batch's sleep ends. The second batch is then 5 ms old.
      rig.clock.advance(by: .milliseconds(5))
      try await rig.clock.waitForSleeper(until: .milliseconds(15))
      #expect(rig.handler.count == 1)
      rig.clock.advance(by: .milliseconds(5))
      let call = try await rig.handler.call(1)
      #expect(call.input.messages == [100])
      #expect(call.input.trigger == .linger)
    }
  }

  @Test
  func theTimeCountsFromTheFirstMessageNotFromTicks() async throws {
    let rig = try Rig(.init(batchSize: 3, linger: .milliseconds(10)), handler: .open())
    try await rig.run { rig in
      for round in 0..<5 {
        // Times that are no multiples of the linger.
        rig.clock.advance(by: .milliseconds(7))
        try await rig.aggregator.send(round)
        try await rig.clock.waitForSleeper(until: rig.clock.elapsed + .milliseconds(10))
        rig.clock.advance(by: .milliseconds(9))
        await settle()
        #expect(rig.handler.count == round)
        rig.clock.advance(by: .milliseconds(1))
        try await rig.handler.waitForCalls(count: round + 1)
      }
    }
    #expect(rig.handler.batches == [[0], [1], [2], [3], [4]])
  }

  @Test
  func theTimerOfABatchThatWasFlushedDoesNotCutTheNext() async throws {
    let rig = try Rig(.init(batchSize: 3, linger: .milliseconds(10)), handler: .open())
    try await rig.run { rig in
      try await rig.aggregator.send(1)
      try await rig.clock.waitForSleeper(until: .milliseconds(10))
      try await rig.aggregator.flush()
      rig.clock.advance(by: .milliseconds(4))
      try await rig.aggregator.send(2)
      rig.clock.advance(by: .milliseconds(6))
      try await rig.clock.waitForSleeper(until: .milliseconds(14))
      #expect(rig.handler.batches == [[1]])
      rig.clock.advance(by: .milliseconds(4))
      try await rig.handler.waitForCalls(count: 2)
    }
  }
}
