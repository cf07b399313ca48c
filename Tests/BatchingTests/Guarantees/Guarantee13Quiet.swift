import Batching
import BatchingTesting
import Testing

@Suite("Guarantee 13: quiet", .timeLimit(.minutes(5)))
struct Guarantee13Quiet {
  @Test(arguments: batchSizes, slotCounts)
  func withNothingToDoItNeitherSleepsNorReadsTheClock(batchSize: Int, concurrency: Int) async throws {
    let rig = try Rig(
      .init(batchSize: batchSize, concurrency: concurrency, handlerTimeout: .seconds(1), drainTimeout: .seconds(1)))
    try await rig.run { rig in
      await settle()
      let reads = rig.clock.nowReads
      for _ in 0..<10 {
        rig.clock.advance(by: .seconds(1))
        await settle()
      }
      #expect(rig.clock.nowReads == reads)
      #expect(rig.clock.sleepCalls == 0)
    }
  }

  @Test(arguments: [2, 3, 7])
  func onceAllIsHandledTheTimerIsParked(batchSize: Int) async throws {
    let rig = try Rig(.init(batchSize: batchSize, linger: .milliseconds(10)), handler: .open())
    try await rig.run { rig in
      try await rig.aggregator.send(1)
      try await rig.clock.waitForSleeper(until: .milliseconds(10))
      rig.clock.advance(by: .milliseconds(10))
      try await rig.handler.waitForCalls(count: 1)
      try await rig.aggregator.flush()
      await settle()
      let reads = rig.clock.nowReads
      for _ in 0..<10 {
        rig.clock.advance(by: .seconds(1))
        await settle()
      }
      #expect(rig.clock.deadlines == [])
      #expect(rig.clock.sleepCalls == 1)
      #expect(rig.clock.nowReads == reads)
    }
  }

  @Test(arguments: slotCounts)
  func oneTimerServesAll(concurrency: Int) async throws {
    let rig = try Rig(.init(batchSize: 3, linger: .milliseconds(10), concurrency: concurrency, capacity: 50))
    try await rig.run { rig in
      try await withThrowingTaskGroup { group in
        for message in 0..<50 { group.addTask { try await rig.aggregator.send(message) } }
        try await group.waitForAll()
      }
      let senders = (50..<54).map { message in Begun { try await rig.aggregator.send(message) } }
      try await eventually("they wait") { rig.aggregator.statistics.waitingSenders == 4 }
      try await rig.clock.waitForSleepers()
      await settle()
      #expect(rig.clock.deadlines == [.milliseconds(10)])
      #expect(rig.clock.sleepCalls == 1)
      rig.handler.open()
      for sender in senders { try await sender.value }
    }
  }

  @Test
  func aBatchThatClosesEarlyDoesNotReArmTheTimer() async throws {
    let rig = try Rig(.init(batchSize: 2, linger: .milliseconds(10)), handler: .open())
    try await rig.run { rig in
      try await rig.aggregator.send(0)
      try await rig.clock.waitForSleeper(until: .milliseconds(10))
      try await rig.aggregator.send(1)
      for round in 1...9 {
        rig.clock.advance(by: .milliseconds(1))
        try await rig.aggregator.send(contentsOf: [2 * round, 2 * round + 1])
        try await rig.handler.waitForCalls(count: round + 1)
        await settle()
        #expect(rig.clock.deadlines == [.milliseconds(10)])
        #expect(rig.clock.sleepCalls == 1)
      }
      // The one sleep that outlives the last message ends, and nothing follows it.
      rig.clock.advance(by: .milliseconds(1))
      await settle()
      #expect(rig.clock.deadlines == [])
      #expect(rig.clock.sleepCalls == 1)
      try await rig.aggregator.send(100)
      try await rig.clock.waitForSleeper(until: .milliseconds(20))
      #expect(rig.clock.sleepCalls == 2)
    }
  }

  @Test
  func batchesOfOneDoNotArmTheTimerEachTime() async throws {
    let rig = try Rig(.init(batchSize: 1, linger: .milliseconds(10)), handler: .open())
    try await rig.run { rig in
      try await rig.aggregator.send(contentsOf: 0..<100)
      try await rig.aggregator.flush()
      #expect(rig.clock.sleepCalls <= 1)
    }
  }

  @Test
  func withoutLingerNobodySleeps() async throws {
    let rig = try Rig(.init(batchSize: 3, linger: .zero), handler: .open())
    try await rig.run { rig in
      try await rig.aggregator.send(contentsOf: 0..<100)
      try await rig.aggregator.flush()
    }
    #expect(rig.clock.sleepCalls == 0)
  }

  @Test
  func theDrainsDeadlineWakesTheSameTimerIfItComesFirst() async throws {
    let rig = try Rig(.init(batchSize: 2, linger: .seconds(60), drainTimeout: .seconds(5)))
    try await rig.run { rig in
      try await rig.aggregator.send(1)
      try await rig.clock.waitForSleeper(until: .seconds(60))
      rig.aggregator.shutdown()
      try await rig.handler.waitForCalls(count: 1)
      try await rig.clock.waitForSleeper(until: .seconds(5))
      try await eventually("the old sleep ends") { rig.clock.deadlines == [.seconds(5)] }
      #expect(rig.clock.sleepCalls == 2)
    }
  }

  @Test
  func theDrainsDeadlineWaitsForTheOldSleepIfItComesLater() async throws {
    let rig = try Rig(.init(batchSize: 2, linger: .seconds(5), drainTimeout: .seconds(60)))
    try await rig.run { rig in
      try await rig.aggregator.send(1)
      try await rig.clock.waitForSleeper(until: .seconds(5))
      rig.aggregator.shutdown()
      try await rig.handler.waitForCalls(count: 1)
      await settle()
      #expect(rig.clock.deadlines == [.seconds(5)])
      #expect(rig.clock.sleepCalls == 1)
      rig.clock.advance(by: .seconds(5))
      try await rig.clock.waitForSleeper(until: .seconds(60))
      #expect(rig.clock.sleepCalls == 2)
    }
  }

  @Test
  func aHandlersTimeOutIsOneSleepForEachAttempt() async throws {
    let rig = try Rig(.init(batchSize: 1, linger: .zero, handlerTimeout: .seconds(1)))
    try await rig.run { rig in
      for message in 0..<10 {
        try await rig.aggregator.send(message)
        try await rig.clock.waitForSleepers()
        try await rig.handler.call(message).succeed()
        try await rig.clock.waitForNoSleepers()
      }
    }
    #expect(rig.clock.sleepCalls == 10)
  }

  @TaskLocal private static var mark = 0

  @Test(arguments: batchSizes)
  func handlersRunInTasksOfTheRun(batchSize: Int) async throws {
    let marks = Watched<[Int]>([])
    let aggregator = try Aggregator<Int>(
      configuration: .init(batchSize: batchSize, concurrency: 2, handlerTimeout: .seconds(600))
    ) { _ in marks.change { $0.append(Self.mark) } }
    try await Self.$mark.withValue(42) {
      try await whileRunning(aggregator) { _ in
        try await Self.$mark.withValue(1) {
          try await aggregator.send(contentsOf: 0..<(3 * batchSize))
          try await aggregator.flush()
        }
      }
    }
    #expect(marks.current == [42, 42, 42])
  }
}
