import Batching
import BatchingTesting
import CoreMetrics
import Foundation
import InMemoryTracing
import Testing
import Tracing

/// The contract, re-proven in worlds that a seed decides; `Audit` in `BatchingTesting` says what is checked.
@Suite("Simulation of the core")
struct CoreSimulation {
  /// `BATCHING_SEEDS=1000000 swift test --filter CoreSimulation` tries more.
  private static let seeds =
    ProcessInfo.processInfo.environment["BATCHING_SEEDS"].flatMap { UInt64($0) } ?? 10_000
  private static let parts: UInt64 = 20

  @Test(arguments: 0..<parts)
  func theContractHolds(part: UInt64) async throws {
    let weight: @Sendable (Int) -> Int = { $0 % 10 }
    let range = (Self.seeds * part / Self.parts)..<(Self.seeds * (part + 1) / Self.parts)
    let summary = try await simulate(seeds: range) { simulation in
      let weight = simulation.chance(0.3) ? weight : nil
      let messages = 0..<simulation.random(in: 0...40)
      try await simulation.run(sending: messages, weight: weight, handler: { _ in }, onFailure: { _ in })
    }
    print("simulation, part \(part + 1) of \(Self.parts): \(summary)")
  }

  /// The same by key, with few keys and many.
  @Test(arguments: 0..<parts)
  func theContractHoldsByKey(part: UInt64) async throws {
    let weight: @Sendable (Int) -> Int = { $0 % 10 }
    let first = 2_000_000 + Self.seeds * part / Self.parts
    let summary = try await simulate(seeds: first..<(first + Self.seeds / Self.parts)) { simulation in
      let weight = simulation.chance(0.3) ? weight : nil
      let messages = 0..<simulation.random(in: 0...40)
      let keys = simulation.pick(1, 2, 3, 10, 100)
      try await simulation.run(
        sending: messages, key: { $0 % keys }, weight: weight, handler: { _, _ in }, onFailure: { _, _ in })
    }
    print("simulation by key, part \(part + 1) of \(Self.parts): \(summary)")
  }

  /// The same with answers: callers that are cancelled, handlers that throw, hang, and have too few answers or too many.
  @Test(arguments: 0..<parts)
  func theContractHoldsWithAnswers(part: UInt64) async throws {
    let first = 3_000_000 + Self.seeds * part / Self.parts
    let summary = try await simulate(seeds: first..<(first + Self.seeds / Self.parts)) { simulation in
      try await simulation.run(asking: simulation.random(in: 0...30), deduplicating: simulation.chance(0.2))
    }
    print("simulation with answers, part \(part + 1) of \(Self.parts): \(summary)")
  }

  /// Metrics and traces take other ways through the core, and must tell the truth.
  @Test(arguments: 0..<4 as Range<UInt64>)
  func theContractHoldsWhenItIsWatched(part: UInt64) async throws {
    let first = 1_000_000 + part * (Self.seeds / 40)
    try await simulate(seeds: first..<(first + Self.seeds / 40)) { simulation in
      let metrics = WatchedMetrics()
      let tracer = InMemoryTracer()
      var configuration = simulation.anyConfiguration()
      configuration.tracing = simulation.pick(.handlerCalls, .handlerCalls(linkingSenders: 3))
      let chosen = configuration
      let outcome = try await withMetricsFactory(metrics) {
        try await withTracer(tracer) {
          try await simulation.run(
            sending: 0..<30, configuration: chosen, handler: { _ in }, onFailure: { _ in })
        }
      }
      let numbers = outcome.statistics
      for (name, number) in [
        ("accepted", numbers.accepted), ("handled", numbers.handled), ("failed", numbers.failed),
        ("dropped", numbers.dropped),
      ] {
        let counted = metrics.count("message.\(name)")
        try simulation.require(counted == number, "the counter of \(name) is \(counted), but should be \(number)")
      }
      let calls = numbers.batches.values.reduce(0, +) + numbers.retries - (numbers.batches[.split] ?? 0)
      try simulation.require(
        tracer.finishedSpans.count == calls, "\(tracer.finishedSpans.count) spans of \(calls) calls")
      try simulation.require(tracer.activeSpans.isEmpty, "a span is left open")
    }
  }

  /// With nothing going wrong nothing fails.
  @Test
  func withoutFaultsAllIsHandled() async throws {
    try await simulate(seeds: 0..<300, faults: .none) { simulation in
      var configuration = simulation.anyConfiguration()
      configuration.overflow = .suspend
      configuration.drainTimeout = nil
      let outcome = try await simulation.run(sending: 0..<30, configuration: configuration) { _ in }
      try simulation.require(outcome.refused.isEmpty, "refused: \(outcome.refused)")
      try simulation.require(outcome.statistics.handled == 30, "\(outcome.statistics)")
    }
  }

  /// A seed stands for one run, to the last job.
  @Test
  func aSeedRepeatsExactly() async throws {
    let body: @Sendable (Simulation) async throws -> Void = { simulation in
      try await simulation.run(sending: 0..<30) { _ in }
    }
    let first = try await simulate(seeds: 0..<200, body)
    let second = try await simulate(seeds: 0..<200, body)
    #expect(first == second)
    let others = try await simulate(seeds: 200..<400, body)
    #expect(first.digest != others.digest)
  }
}
