import Batching
import BatchingTesting
import Testing

/// The simulation itself: that it finds what is wrong, says so, and repeats it.
@Suite("Simulation")
struct SimulationTests {
  /// A table without a unique key, written row by row: what many handlers do.
  private actor Table {
    private var rows: [Int] = []
    private let isTransactional: Bool

    init(isTransactional: Bool) { self.isTransactional = isTransactional }

    /// Stores what is not there yet; without a transaction it asks first and stores row by row.
    func insert(_ batch: Batch<Int>, pausing pause: @Sendable () async -> Void) async {
      if isTransactional {
        rows += batch.filter { !rows.contains($0) }
        return
      }
      for message in batch {
        await pause()
        rows.append(message)
      }
    }

    func count(of message: Int) -> Int { rows.count { $0 == message } }
  }

  /// Sends to a table, and wants each accepted message in it once, or given to the failure handler.
  private static func store(isTransactional: Bool) -> @Sendable (Simulation) async throws -> Void {
    { simulation in
      let table = Table(isTransactional: isTransactional)
      let recorder = FateRecorder<Int>()
      let outcome = try await simulation.run(
        sending: 0..<20, configuration: .init(batchSize: 4, retry: .exponential(maximumAttempts: 3)),
        handler: { batch in await table.insert(batch) { await simulation.pause() } },
        onFailure: recorder.recording { (_: BatchFailure<Int>) in })
      for message in outcome.accepted {
        let copies = await table.count(of: message)
        try simulation.require(copies <= 1, "message \(message) is stored \(copies) times")
        try simulation.require(
          copies == 1 || recorder.all[message] != nil, "message \(message) is neither stored nor given up")
      }
    }
  }

  @Test
  func aHandlerWhoseWorkIsNotRepeatableIsFound() async throws {
    let failure = try #require(
      await #expect(throws: SimulationFailure.self) {
        try await simulate(seeds: 0..<100, Self.store(isTransactional: false))
      })
    #expect(failure.finding.contains("is stored 2 times"))
    #expect(failure.repeats)
    #expect(
      failure.replayCommand
        == "BATCHING_SEED=\(failure.seed) swift test --filter aHandlerWhoseWorkIsNotRepeatableIsFound")
    #expect(failure.trace.last?.contains(failure.finding) == true)
    #expect(failure.trace.contains { $0.contains("simulated") || $0.contains("cancelled") })
    #expect("\(failure)".contains(failure.replayCommand))
    // The seed alone finds it again.
    let again = try #require(
      await #expect(throws: SimulationFailure.self) {
        try await simulate(seeds: failure.seed..<(failure.seed + 1), Self.store(isTransactional: false))
      })
    #expect(again.finding == failure.finding)
    #expect(again.trace == failure.trace)
  }

  @Test
  func aHandlerWhoseWorkIsRepeatablePasses() async throws {
    let summary = try await simulate(seeds: 0..<100, Self.store(isTransactional: true))
    #expect(summary.seeds == 100)
    #expect(summary.messages == 2_000)
    #expect(summary.calls > 100)
  }

  @Test
  func aFailureHandlerThatForgetsIsFound() async throws {
    await #expect(throws: SimulationFailure.self) {
      try await simulate(seeds: 0..<100) { simulation in
        let saved = Watched<[Int]>([])
        let outcome = try await simulation.run(sending: 0..<20) { batch in
          saved.change { $0 += batch.messages }
        } onFailure: { failure in
          // Only the first of them: a real mistake of somebody who thinks of one message at a time.
          saved.change { $0 += failure.messages.prefix(1) }
        }
        for message in outcome.accepted {
          try simulation.require(saved.current.contains(message), "message \(message) is lost")
        }
      }
    }
  }

  @Test
  func whatTheBodyThrowsIsTheFinding() async throws {
    let failure = try #require(
      await #expect(throws: SimulationFailure.self) {
        try await simulate(seeds: 7..<9) { simulation in
          simulation.note("before")
          throw Failure(id: Int(simulation.seed))
        }
      })
    #expect(failure.seed == 7)
    #expect(failure.finding == "the body threw Failure(id: 7)")
    #expect(failure.trace.first?.hasSuffix("before") == true)
  }

  @Test
  func aBodyThatWaitsForNothingIsStuck() async throws {
    let failure = try #require(
      await #expect(throws: SimulationFailure.self) {
        try await simulate(seeds: 0..<1) { _ in
          try await Watched(false).wait { $0 }
        }
      })
    #expect(failure.finding.hasPrefix("stuck"))
  }

  @Test
  func aTaskThatOutlivesTheBodyIsFound() async throws {
    let failure = try #require(
      await #expect(throws: SimulationFailure.self) {
        try await simulate(seeds: 0..<1) { simulation in
          Task(executorPreference: currentExecutor()) { try await simulation.clock.sleep(for: .seconds(1)) }
          await Task.yield()
        }
      })
    #expect(failure.finding.contains("sleeps on after the end"))
  }

  @Test
  func whatTheSimulationDoesNotControlDoesNotRepeat() async throws {
    let failure = try #require(
      await #expect(throws: SimulationFailure.self) {
        try await simulate(seeds: 0..<1) { simulation in
          simulation.note("\(UInt64.random(in: 0...UInt64.max))")
          for _ in 0..<Int.random(in: 0...100_000) { simulation.note("again") }
          try simulation.require(false, "always")
        }
      })
    #expect(!failure.repeats)
    #expect("\(failure)".contains("did not repeat exactly"))
  }

  @Test
  func virtualTimeCostsNone() async throws {
    let summary = try await simulate(seeds: 0..<1) { simulation in
      try await simulation.clock.sleep(for: .seconds(1_000_000))
      try simulation.require(simulation.clock.elapsed == .seconds(1_000_000), "\(simulation.clock.elapsed)")
    }
    #expect(summary.time == .seconds(1_000_000))
  }

  /// The generator's numbers are those of the reference implementation of SplitMix64 for the seed 1234567.
  @Test
  func theGeneratorIsSplitMix64() {
    var generator = SeededGenerator(seed: 1_234_567)
    #expect(
      (0..<3).map { _ in generator.next() } == [
        6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423,
      ])
  }
}

/// The executor that the body runs on.
private func currentExecutor() -> (any TaskExecutor)? {
  withUnsafeCurrentTask { $0?.unownedTaskExecutor?.asTaskExecutor() }
}
