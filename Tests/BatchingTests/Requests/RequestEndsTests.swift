import Batching
import BatchingTesting
import Testing

@Suite("Requests: full, dropped, shut down", .timeLimit(.minutes(5)))
struct RequestEndsTests {
  @Test(arguments: [1, 2, 3])
  func aShutdownAnswersWhatIsHeld(batchSize: Int) async throws {
    let rig = try RequestRig(.init(batchSize: batchSize, linger: .seconds(3600)), handler: .open())
    try await rig.run { run in
      let calls = rig.begin(0..<4)
      rig.aggregator.shutdown()
      for (request, call) in calls.enumerated() { try await call.expect("\(request)") }
      #expect(await rig.begin(5).error as? AggregatorError == .closed)
      try await run.value
    }
  }

  @Test
  func aCancelledRunFailsWhatItHolds() async throws {
    let rig = try RequestRig(.init(batchSize: 2, linger: .seconds(3600)))
    try await rig.run { run in
      let calls = rig.begin(0..<5)
      try await rig.handler.waitForCalls(count: 1)
      run.cancel()
      for call in calls { #expect(await call.error is CancellationError) }
      #expect(rig.statistics.failed == 5)
    }
  }

  @Test
  func whatIsSentBeforeRunIsAnsweredOnceItRuns() async throws {
    let rig = try RequestRig(.init(batchSize: 2), handler: .open())
    let calls = rig.begin(0..<2)
    #expect(rig.statistics.held == 2)
    try await rig.run { _ in
      for (request, call) in calls.enumerated() { try await call.expect("\(request)") }
    }
  }

  @Test
  func flushAnswersWhatIsThere() async throws {
    let rig = try RequestRig(.init(batchSize: 10, linger: .seconds(3600)), handler: .open())
    try await rig.run { _ in
      let calls = rig.begin(0..<3)
      try await rig.aggregator.flush()
      #expect(rig.statistics.handled == 3)
      for (request, call) in calls.enumerated() { try await call.expect("\(request)") }
    }
  }

  @Test
  func whoFindsNoRoomWaitsOrIsRefused() async throws {
    let waiting = try RequestRig(.init(batchSize: 1, capacity: 1))
    try await waiting.run { _ in
      let calls = waiting.begin(0..<3)
      #expect(waiting.statistics.waitingSenders == 2)
      waiting.handler.open()
      for (request, call) in calls.enumerated() { try await call.expect("\(request)") }
    }
    let refusing = try RequestRig(.init(batchSize: 1, capacity: 1, overflow: .reject))
    try await refusing.run { _ in
      let calls = refusing.begin(0..<2)
      #expect(await calls[1].error as? AggregatorError == .full)
      refusing.handler.open()
      try await calls[0].expect("0")
      #expect(refusing.statistics.rejected == 1)
    }
  }

  @Test
  func thePushedOutHearOfIt() async throws {
    let rig = try RequestRig(.init(batchSize: 2, linger: .seconds(3600), capacity: 3, overflow: .dropOldest))
    try await rig.run { _ in
      let calls = rig.begin(0..<2)
      try await rig.handler.waitForCalls(count: 1)
      let later = rig.begin(2..<5)
      #expect(await later[0].error as? AggregatorError == .dropped)
      #expect(await later[1].error as? AggregatorError == .dropped)
      #expect(rig.statistics.dropped == 2)
      rig.handler.open()
      for call in calls { _ = try await call.value }
      try await rig.aggregator.flush()
      try await later[2].expect("4")
    }
  }

  @Test
  func heavyRequests() async throws {
    let rig = try RequestRig(
      .init(batchSize: 10, linger: .seconds(3600), maximumBatchWeight: 10), handler: .open(), weight: { $0 })
    try await rig.run { _ in
      #expect(await rig.begin(11).error as? AggregatorError == .tooHeavy)
      let calls = rig.begin([6, 5])
      try await calls[0].expect("6")
      let last = rig.begin(5)
      try await calls[1].expect("5")
      try await last.expect("5")
      #expect(rig.handler.inputs.map(\.trigger) == [.weight, .weight])
    }
  }

  @Test
  func badConfigurationThrows() {
    #expect(throws: AggregatorError.invalidConfiguration("batchSize", was: "0", allowed: "1 or more")) {
      _ = try RequestAggregator<Int, Int>(configuration: .init(batchSize: 0)) { $0.messages }
    }
    #expect(throws: AggregatorError.invalidConfiguration("batchSize", was: "0", allowed: "1 or more")) {
      _ = try RequestAggregator<Int, Int>.returningResults(configuration: .init(batchSize: 0)) { _ in [] }
    }
  }
}
