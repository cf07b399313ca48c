import Batching
import BatchingTesting
import Testing

@Suite("Requests: cancellation", .timeLimit(.minutes(5)))
struct RequestCancellationTests {
  @Test(arguments: [0, 1, 2])
  func beforeItsBatchHasStartedARequestIsTakenOut(which: Int) async throws {
    let rig = try RequestRig(.init(batchSize: 4, linger: .seconds(3600)), handler: .open())
    try await rig.run { _ in
      let calls = rig.begin(0..<3)
      calls[which].cancel()
      #expect(await calls[which].error is CancellationError)
      #expect((rig.statistics.cancelled, rig.statistics.held) == (1, 2))
      // The batch is full with two more: there is room for the one that left.
      let later = rig.begin(3..<5)
      let rest = [0, 1, 2, 3, 4].filter { $0 != which }
      for (index, call) in (calls + later).enumerated() where index != which {
        try await call.expect("\(index)")
      }
      #expect(rig.handler.inputs.map(\.messages) == [rest])
      #expect(rig.handler.inputs.map(\.trigger) == [.size])
    }
  }

  @Test
  func anEmptiedBatchVanishesWithItsDeadline() async throws {
    let rig = try RequestRig(.init(batchSize: 4, linger: .seconds(10)), handler: .open())
    try await rig.run { _ in
      let gone = rig.begin(0..<2)
      try await rig.clock.waitForSleeper(until: .seconds(10))
      rig.clock.advance(by: .seconds(6))
      for call in gone {
        call.cancel()
        #expect(await call.error is CancellationError)
      }
      #expect(rig.statistics.held == 0)
      let call = rig.begin(2)
      // The timer sleeps on till the old deadline, finds nothing due, and sleeps again.
      rig.clock.advance(by: .seconds(4))
      try await rig.clock.waitForSleeper(until: .seconds(16))
      #expect(rig.handler.count == 0)
      rig.clock.advance(by: .seconds(6))
      try await call.expect("2")
      #expect(rig.handler.inputs.map(\.messages) == [[2]])
    }
  }

  @Test
  func lingerCountsFromTheFirstThatIsLeft() async throws {
    let rig = try RequestRig(.init(batchSize: 4, linger: .seconds(10)), handler: .open())
    try await rig.run { _ in
      let first = rig.begin(0)
      try await rig.clock.waitForSleeper(until: .seconds(10))
      rig.clock.advance(by: .seconds(6))
      let second = rig.begin(1)
      first.cancel()
      #expect(await first.error is CancellationError)
      rig.clock.advance(by: .seconds(4))
      try await rig.clock.waitForSleeper(until: .seconds(16))
      #expect(rig.handler.count == 0)
      rig.clock.advance(by: .seconds(6))
      try await second.expect("1")
    }
  }

  @Test
  func afterItsBatchHasStartedItThrowsAtOnceAndTheAnswerIsThrownAway() async throws {
    let rig = try RequestRig(.init(batchSize: 2))
    try await rig.run { _ in
      let calls = rig.begin(0..<2)
      try await rig.handler.waitForCalls(count: 1)
      calls[0].cancel()
      #expect(await calls[0].error is CancellationError)
      #expect((rig.statistics.cancelled, rig.statistics.inFlight) == (0, 2))
      rig.handler.open()
      try await calls[1].expect("1")
      #expect(rig.statistics.handled == 2)
    }
  }

  @Test
  func whoWaitsForRoomWasNotAccepted() async throws {
    let rig = try RequestRig(.init(batchSize: 1, capacity: 1))
    try await rig.run { _ in
      let calls = rig.begin(0..<3)
      calls[1].cancel()
      #expect(await calls[1].error is CancellationError)
      #expect((rig.statistics.accepted, rig.statistics.waitingSenders, rig.statistics.cancelled) == (1, 1, 0))
      rig.handler.open()
      try await calls[0].expect("0")
      try await calls[2].expect("2")
    }
  }

  @Test
  func whoLeavesMakesRoomForThoseWhoWait() async throws {
    let rig = try RequestRig(.init(batchSize: 2, linger: .seconds(3600), capacity: 3))
    try await rig.run { _ in
      let calls = rig.begin(0..<3)
      try await rig.handler.waitForCalls(count: 1)
      let waiting = rig.begin(3..<5)
      #expect(rig.statistics.waitingSenders == 2)
      calls[2].cancel()
      #expect(await calls[2].error is CancellationError)
      #expect((rig.statistics.waitingSenders, rig.statistics.held) == (1, 3))
      rig.handler.open()
      for (index, call) in waiting.enumerated() { try await call.expect("\(index + 3)") }
      #expect(rig.handler.inputs.map(\.messages) == [[0, 1], [3, 4]])
    }
  }

  @Test
  func inACancelledTaskItIsAcceptedAndTakenOutAgain() async throws {
    let rig = try RequestRig(.init(batchSize: 2, linger: .seconds(3600)), handler: .open())
    try await rig.run { _ in
      let gate = Watched(false)
      let call = Begun {
        await gate.waitIgnoringCancellation { $0 }
        return try await rig.aggregator.send(1)
      }
      call.cancel()
      gate.change { $0 = true }
      #expect(await call.error is CancellationError)
      #expect((rig.statistics.accepted, rig.statistics.cancelled, rig.statistics.held) == (1, 1, 0))
    }
  }

  @Test
  func aFullBatchThatWaitsGrowsAgain() async throws {
    let rig = try RequestRig(.init(batchSize: 2, linger: .seconds(3600), capacity: 10))
    try await rig.run { _ in
      let first = rig.begin(0..<2)
      try await rig.handler.waitForCalls(count: 1)
      let second = rig.begin(2..<4)
      second[0].cancel()
      #expect(await second[0].error is CancellationError)
      let third = rig.begin(4)
      rig.handler.open()
      for call in first + [second[1], third] { _ = try await call.value }
      #expect(rig.handler.inputs.map(\.messages) == [[0, 1], [3, 4]])
    }
  }

  @Test
  func aFlushDoesNotWaitForWhoLeft() async throws {
    let rig = try RequestRig(.init(batchSize: 2, linger: .seconds(3600)))
    try await rig.run { _ in
      let calls = rig.begin(0..<3)
      try await rig.handler.waitForCalls(count: 1)
      let flush = Begun { try await rig.aggregator.flush() }
      calls[2].cancel()
      #expect(await calls[2].error is CancellationError)
      #expect(!flush.hasEnded)
      try await rig.handler.call(0).succeed()
      try await flush.value
      #expect(rig.handler.count == 1)
    }
  }

  /// Real threads: callers come, go, and are cancelled; each has one fate, and gets its own answer if any.
  @Test(arguments: [1, 2, 3, 8], [1, 3])
  func underLoad(batchSize: Int, concurrency: Int) async throws {
    let aggregator = try RequestAggregator<Int, Int>(
      configuration: .init(batchSize: batchSize, linger: .microseconds(50), concurrency: concurrency, capacity: 20)
    ) { batch in
      if batch.count > 1 { await Task.yield() }
      return batch.map { -$0 }
    }
    let run = Begun { try await aggregator.run() }
    let answered = try await withThrowingTaskGroup(of: Int.self) { group in
      for task in 0..<40 {
        group.addTask {
          var answered = 0
          for round in 0..<50 {
            let request = task * 1000 + round
            let call = Task { try await aggregator.send(request) }
            if (task + round).isMultiple(of: 3) {
              if round.isMultiple(of: 2) { await Task.yield() }
              call.cancel()
            }
            switch await call.result {
            case .success(let answer):
              #expect(answer == -request)
              answered += 1
            case .failure(let error):
              #expect(error is CancellationError)
            }
          }
          return answered
        }
      }
      return try await group.reduce(0, +)
    }
    aggregator.shutdown()
    try await run.value
    let statistics = aggregator.statistics
    #expect(statistics.addsUp)
    #expect((statistics.held, statistics.failed, statistics.dropped) == (0, 0, 0))
    // Those that were cancelled after their batch had started are handled all the same.
    #expect(statistics.handled >= answered)
    #expect(answered >= 40 * 50 * 2 / 3 - 40)
  }
}
