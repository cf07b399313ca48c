import Batching
import BatchingTesting
import Logging
import ServiceLifecycle
import ServiceLifecycleTestKit
import Testing

@Suite("Guarantee 10: as a service", .timeLimit(.minutes(5)))
struct Guarantee10Service {
  @Test(arguments: batchSizes)
  func aGracefulShutdownDrains(batchSize: Int) async throws {
    let rig = try Rig(.init(batchSize: batchSize, linger: .seconds(3600)))
    let count = 3 * batchSize - 1
    try await testGracefulShutdown { trigger in
      try await rig.run { rig, run in
        try await rig.aggregator.send(contentsOf: 0..<count)
        try await rig.handler.waitForCalls(count: 1)
        trigger.triggerGracefulShutdown()
        #expect(rig.aggregator.trySend(100) == .closed)
        #expect(!run.hasEnded)
        #expect(try await !rig.handler.call(0).isCancelled)
        rig.handler.open()
        try await run.value
      }
    }
    #expect(rig.fates.handled == Array(0..<count))
  }

  @Test
  func aGracefulShutdownBeforeRunDrainsAtOnce() async throws {
    let rig = try Rig(.init(batchSize: 2, linger: .seconds(3600)), handler: .open())
    try await rig.aggregator.send(1)
    try await testGracefulShutdown { trigger in
      trigger.triggerGracefulShutdown()
      try await rig.run { _, run in try await run.value }
    }
    #expect(rig.fates.all == .of(handled: [1]))
  }

  @Test
  func aSecondRunIsNoGracefulShutdownOfTheFirst() async throws {
    let rig = try Rig(.init(batchSize: 1), handler: .open())
    try await rig.run { rig in
      await testGracefulShutdown { trigger in
        trigger.triggerGracefulShutdown()
        await #expect(throws: AggregatorError.alreadyRun) { try await rig.aggregator.run() }
      }
      #expect(rig.aggregator.trySend(1) == .accepted)
    }
    #expect(rig.fates.all == .of(handled: [1]))
  }

  @Test
  func inAServiceGroupItIsDrainedLast() async throws {
    // A group stops its services in reverse order: the producer first, then the aggregator with all that it was sent.
    let rig = try Rig(.init(batchSize: 3, linger: .seconds(3600)), handler: .open())
    let producer = Producer(aggregator: rig.aggregator)
    let group = ServiceGroup(
      configuration: .init(
        services: [.init(service: rig.aggregator), .init(service: producer, successTerminationBehavior: .ignore)],
        logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }))
    let run = Begun { try await group.run() }
    try await producer.hasSent.wait { $0 }
    await group.triggerGracefulShutdown()
    try await run.value
    #expect(rig.fates.handled == Array(0..<10))
  }

  private struct Producer: Service {
    let aggregator: Aggregator<Int>
    let hasSent = Watched(false)

    func run() async throws {
      try await aggregator.send(contentsOf: 0..<9)
      hasSent.change { $0 = true }
      try await gracefulShutdown()
      // While it shuts down itself, the aggregator still accepts.
      try await aggregator.send(9)
    }
  }
}
