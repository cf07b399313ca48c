import Batching
import BatchingTesting
import Testing

/// `reconfigure(_:)`: sizes and times change while it runs, and nothing is lost or reordered.
@Suite("Reconfiguring", .timeLimit(.minutes(5)))
struct Reconfiguring {
  private struct Broken: Error {}

  private func change(
    _ aggregator: Aggregator<Int>, _ change: (inout AggregatorConfiguration) -> Void
  ) throws {
    var configuration = aggregator.configuration
    change(&configuration)
    try aggregator.reconfigure(configuration)
    #expect(aggregator.configuration == configuration)
  }

  @Test
  func aNearerDeadlineIsHonoured() async throws {
    let rig = try Rig(.init(batchSize: 10, linger: .seconds(60)), handler: .open())
    try await rig.run { _ in
      try await rig.aggregator.send(1)
      try await rig.clock.waitForSleeper(until: .seconds(60))
      rig.clock.advance(by: .seconds(3))
      try change(rig.aggregator) { $0.linger = .seconds(5) }
      try await rig.clock.waitForSleeper(until: .seconds(5))
      rig.clock.advance(by: .seconds(2))
      try await rig.handler.waitForCalls(count: 1)
      #expect(rig.handler.inputs[0].trigger == .linger)
    }
  }

  @Test
  func aBatchThatIsOlderThanTheNewLingerIsDueAtOnce() async throws {
    let rig = try Rig(.init(batchSize: 10, linger: .seconds(60)), handler: .open())
    try await rig.run { _ in
      try await rig.aggregator.send(1)
      try await rig.clock.waitForSleeper(until: .seconds(60))
      rig.clock.advance(by: .seconds(9))
      try change(rig.aggregator) { $0.linger = .seconds(5) }
      try await rig.handler.waitForCalls(count: 1)
      #expect(rig.clock.elapsed == .seconds(9))
    }
  }

  @Test
  func aLaterDeadlineIsWaitedFor() async throws {
    let rig = try Rig(.init(batchSize: 10, linger: .seconds(5)), handler: .open())
    try await rig.run { _ in
      try await rig.aggregator.send(1)
      try await rig.clock.waitForSleeper(until: .seconds(5))
      try change(rig.aggregator) { $0.linger = .seconds(20) }
      rig.clock.advance(by: .seconds(5))
      try await rig.clock.waitForSleeper(until: .seconds(20))
      #expect(rig.handler.count == 0)
      rig.clock.advance(by: .seconds(15))
      try await rig.handler.waitForCalls(count: 1)
    }
  }

  @Test(arguments: [1, 2, 3, 7])
  func whatIsHeldIsCutToTheNewSizeInOrder(size: Int) async throws {
    let rig = try Rig(.init(batchSize: 10, linger: .seconds(60), capacity: 100))
    try await rig.run { _ in
      try await rig.aggregator.send(contentsOf: 0..<38)
      let first = try await rig.handler.call(0)
      try change(rig.aggregator) {
        $0.batchSize = size
        $0.linger = .zero
      }
      rig.handler.open()
      first.succeed()
      try await rig.aggregator.flush()
      #expect(rig.fates.handled == Array(0..<38))
      #expect(rig.handler.inputs.dropFirst().allSatisfy { $0.count <= size })
      let numbers = rig.handler.inputs.map(\.sequenceNumber)
      #expect(numbers == numbers.sorted() && Set(numbers).count == numbers.count)
    }
  }

  @Test
  func aLargerSizeLetsTheOpenBatchGrow() async throws {
    let rig = try Rig(.init(batchSize: 3, linger: .seconds(60), capacity: 100_000), handler: .open())
    try await rig.run { _ in
      try await rig.aggregator.send(contentsOf: [0, 1])
      try change(rig.aggregator) { $0.batchSize = 20_000 }
      try await rig.aggregator.send(contentsOf: 2..<20_000)
      try await rig.handler.waitForCalls(count: 1)
      #expect(rig.handler.inputs[0].messages == Array(0..<20_000))
    }
  }

  @Test
  func anOpenBatchThatHasBecomeFullIsDue() async throws {
    let rig = try Rig(.init(batchSize: 10, linger: .seconds(60)), handler: .open())
    try await rig.run { _ in
      try await rig.aggregator.send(contentsOf: 0..<4)
      try change(rig.aggregator) { $0.batchSize = 4 }
      try await rig.handler.waitForCalls(count: 1)
      #expect(rig.handler.inputs.map(\.messages) == [[0, 1, 2, 3]])
      #expect(rig.handler.inputs[0].trigger == .size)
    }
  }

  @Test
  func moreSlotsAreUsedAtOnceAndFewerAfterTheCallsThatRun() async throws {
    let rig = try Rig(.init(batchSize: 1, linger: .zero, concurrency: 1, capacity: 100))
    try await rig.run { _ in
      try await rig.aggregator.send(contentsOf: 0..<10)
      try await rig.handler.waitForCalls(count: 1)
      try change(rig.aggregator) { $0.concurrency = 3 }
      try await rig.handler.waitForCalls(count: 3)
      #expect(rig.handler.running == 3)
      try change(rig.aggregator) { $0.concurrency = 1 }
      for number in 0..<2 {
        let call = try await rig.handler.call(number)
        call.succeed()
        try await call.waitUntilEnded()
      }
      for _ in 0..<50 { await Task.yield() }
      #expect(rig.handler.count == 3)
      for number in 2..<10 { try await rig.handler.call(number).succeed() }
      try await rig.aggregator.flush()
      #expect(rig.handler.mostAtOnce == 3)
      // The first three had slots of their own, which keep no order among each other.
      let handled = rig.fates.handled
      #expect(handled.prefix(3).sorted() == [0, 1, 2])
      #expect(Array(handled.dropFirst(3)) == Array(3..<10))
      // And again as many.
      try change(rig.aggregator) { $0.concurrency = 2 }
      try await rig.aggregator.send(contentsOf: 10..<12)
      try await rig.handler.waitForCalls(count: 12)
      #expect(rig.handler.running == 2)
    }
  }

  @Test
  func parkedSlotsAreTakenAwayToo() async throws {
    let rig = try Rig(.init(batchSize: 1, linger: .zero, concurrency: 4, capacity: 100))
    try await rig.run { _ in
      try await rig.aggregator.send(0)
      try await rig.handler.call(0).succeed()
      try await rig.aggregator.flush()
      try change(rig.aggregator) { $0.concurrency = 1 }
      try await rig.aggregator.send(contentsOf: 1..<5)
      for number in 1..<5 { try await rig.handler.call(number).succeed() }
      try await rig.aggregator.flush()
      #expect(rig.handler.mostAtOnce == 1)
    }
  }

  @Test
  func moreCapacityLetsThoseInThatWait() async throws {
    let rig = try Rig(.init(batchSize: 2, linger: .seconds(60), capacity: 2))
    let aggregator = rig.aggregator
    try await rig.run { _ in
      try await aggregator.send(contentsOf: 0..<2)
      let waiting = Begun { try await aggregator.send(2) }
      #expect(rig.aggregator.statistics.waitingSenders == 1)
      try change(aggregator) { $0.capacity = 3 }
      try await waiting.value
      #expect(aggregator.trySend(3) == .full)
      // Less of it drops nothing.
      try change(aggregator) { $0.capacity = 2 }
      #expect(aggregator.statistics.held == 3)
      #expect(aggregator.trySend(3) == .full)
    }
    #expect(aggregator.statistics.handled == 3)
  }

  @Test
  func whatMakesNoSenseOrCannotBeChangedIsRefused() throws {
    let aggregator = try Aggregator<Int>(configuration: .init(batchSize: 10, capacity: 20)) { _ in }
    var bad = aggregator.configuration
    bad.batchSize = 21
    #expect(throws: AggregatorError.invalidConfiguration("capacity", was: "20", allowed: "")) {
      try aggregator.reconfigure(bad)
    }
    bad = aggregator.configuration
    bad.retry = .exponential()
    let error = #expect(throws: AggregatorError.self) { try aggregator.reconfigure(bad) }
    #expect(error?.message.contains("retry") == true)
    #expect(error?.message.contains("only batchSize, linger, concurrency and capacity can be changed") == true)
    #expect(aggregator.configuration.batchSize == 10)
    aggregator.shutdown()
  }

  @Test
  func beforeRunAndAfterTheEndItDoesNoHarm() async throws {
    let rig = try Rig(.init(batchSize: 10, linger: .seconds(60)), handler: .open())
    try await rig.aggregator.send(contentsOf: 0..<5)
    try change(rig.aggregator) {
      $0.batchSize = 2
      $0.concurrency = 2
    }
    try await rig.run { _ in try await rig.aggregator.flush() }
    #expect(rig.handler.inputs.allSatisfy { $0.count <= 2 })
    try change(rig.aggregator) { $0.concurrency = 5 }
    #expect(rig.aggregator.statistics.handled == 5)
  }

  @Test(arguments: [1, 2, 3, 20])
  func byKeyToo(size: Int) async throws {
    let rig = try KeyedRig(.init(batchSize: 40, linger: .seconds(60), capacity: 1000))
    try await rig.run { _ in
      for number in 1...60 { try await rig.send("a\(number) b\(number)") }
      try await rig.send("c1")
      var configuration = rig.aggregator.configuration
      configuration.batchSize = size
      configuration.concurrency = 3
      try rig.aggregator.reconfigure(configuration)
      rig.handler.open()
      try await rig.aggregator.flush()
      for key in ["a", "b"] {
        #expect(rig.fates.handled.filter { $0.key == key }.map(\.number) == Array(1...60))
      }
      // The first may have been under way.
      #expect(rig.handler.inputs.dropFirst().allSatisfy { $0.count <= size })
    }
  }

  @Test
  func byKeyDeadlinesMoveToo() async throws {
    let rig = try KeyedRig(.init(batchSize: 10, linger: .seconds(60), capacity: 100), handler: .open())
    try await rig.run { _ in
      try await rig.send("a1")
      try await rig.clock.waitForSleeper(until: .seconds(60))
      rig.clock.advance(by: .seconds(3))
      try await rig.send("b1")
      var configuration = rig.aggregator.configuration
      configuration.linger = .seconds(4)
      try rig.aggregator.reconfigure(configuration)
      try await rig.clock.waitForSleeper(until: .seconds(4))
      rig.clock.advance(by: .seconds(1))
      try await rig.handler.waitForCalls(count: 1)
      #expect(rig.calls == ["a1"])
      configuration.linger = .seconds(2)
      rig.clock.advance(by: .seconds(1))
      try rig.aggregator.reconfigure(configuration)
      try await rig.handler.waitForCalls(count: 2)
      #expect(rig.calls == ["a1", "b1"])
      #expect(rig.clock.elapsed == .seconds(5))
    }
  }

  /// Requests that are cut can still be taken out.
  @Test
  func requestsToo() async throws {
    let rig = try RequestRig(.init(batchSize: 8, linger: .seconds(60), capacity: 100), handler: .gated())
    try await rig.run { _ in
      let calls = rig.begin(0..<20)
      _ = try await rig.handler.call(0)
      var configuration = rig.aggregator.configuration
      configuration.batchSize = 3
      try rig.aggregator.reconfigure(configuration)
      calls[12].cancel()
      #expect(await calls[12].error is CancellationError)
      rig.handler.open()
      try await rig.aggregator.flush()
      for (request, call) in calls.enumerated() where request != 12 { try await call.expect("\(request)") }
      #expect(rig.handler.inputs.dropFirst().allSatisfy { $0.count <= 3 })
      #expect(rig.handler.inputs.flatMap(\.messages) == (0..<20).filter { $0 != 12 })
    }
  }
}
