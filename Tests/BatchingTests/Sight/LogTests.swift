import BatchingTesting
import InMemoryLogging
import Logging
import Testing

@testable import Batching

@Suite("Log lines: levels and numbers", .timeLimit(.minutes(5)))
struct LogTests {
  /// What its error says is a message's contents.
  private struct Indiscreet: Error, CustomStringConvertible {
    var description: String { "secret" }
  }

  private let logs = InMemoryLogHandler()

  private func aggregator(
    _ configuration: AggregatorConfiguration, clock: any Clock<Duration> = ContinuousClock(),
    level: Logger.Level = .trace, onFailure: (@Sendable (BatchFailure<String>) async -> Void)? = nil,
    handler: @escaping @Sendable (Batch<String>) async throws -> Void
  ) throws -> Aggregator<String> {
    var logger = Logger(label: "test") { [logs] _ in logs }
    logger.logLevel = level
    return try Aggregator(
      name: "orders", configuration: configuration, clock: clock, logger: logger, handler: handler,
      onFailure: onFailure)
  }

  private func entries(_ message: Logger.Message) -> [InMemoryLogHandler.Entry] {
    logs.entries.filter { $0.message == message }
  }

  @Test
  func aRetryIsForDebuggingAndABatchThatIsGivenUpForInformation() async throws {
    let aggregator = try aggregator(
      .init(batchSize: 2, retry: .exponential(maximumAttempts: 2, initial: .zero, maximum: .zero))
    ) { _ in throw Indiscreet() }
    try await whileRunning(aggregator) { _ in
      try await aggregator.send(contentsOf: ["secret", "secret"])
      try await aggregator.flush()
    }
    let retry = try #require(entries("batch failed, it is tried again").first)
    #expect(retry.level == .debug)
    #expect(
      retry.metadata == [
        "batching.aggregator": "orders", "batching.batch.sequence_number": "1", "batching.batch.size": "2",
        "batching.batch.attempt": "1", "batching.back_off": "0.0 seconds", "error.type": "Indiscreet",
      ])
    let end = try #require(entries("batch failed, and there is no onFailure to save it").first)
    #expect(end.level == .info)
    #expect(
      end.metadata == [
        "batching.aggregator": "orders", "batching.batch.sequence_number": "1", "batching.batch.size": "2",
        "batching.batch.attempt": "2", "error.type": "Indiscreet",
      ])
    #expect(logs.entries.map(\.level) == [.debug, .debug, .info, .debug], "run, retry, failure, end")
    #expect(!logs.entries.contains { $0.text.contains("secret") })
  }

  @Test
  func whatIsLeftOfAPartialFailureIsTriedAgain() async throws {
    let aggregator = try aggregator(
      .init(batchSize: 2, retry: .exponential(maximumAttempts: 2, initial: .zero, maximum: .zero))
    ) { batch in
      if batch.attempt == 1 { throw PartialBatchFailure([1: Indiscreet()]) }
    }
    try await whileRunning(aggregator) { _ in
      try await aggregator.send(contentsOf: ["secret", "secret"])
      try await aggregator.flush()
    }
    let retry = try #require(entries("batch failed, it is tried again").first)
    #expect(
      retry.metadata == [
        "batching.aggregator": "orders", "batching.batch.sequence_number": "2", "batching.batch.size": "1",
        "batching.batch.attempt": "1", "batching.back_off": "0.0 seconds", "error.type": "PartialBatchFailure",
      ])
    #expect(!logs.entries.contains { $0.text.contains("secret") })
  }

  @Test
  func halvesAreNamed() async throws {
    let aggregator = try aggregator(
      .init(
        batchSize: 2,
        retry: .exponential(maximumAttempts: 1, initial: .zero, maximum: .zero, isolatesPoisonMessages: true)),
      onFailure: { _ in }
    ) { if $0.contains("secret") { throw Indiscreet() } }
    try await whileRunning(aggregator) { _ in
      try await aggregator.send(contentsOf: ["fine", "secret"])
      try await aggregator.flush()
    }
    let halves = entries("batch failed, this half of it is tried alone")
    #expect(halves.map { $0.metadata["batching.batch.sequence_number"] } == ["2", "3"])
    #expect(halves.allSatisfy { $0.level == .debug })
    #expect(entries("batch failed").map { $0.metadata["batching.batch.size"] } == ["1"])
    #expect(!logs.entries.contains { $0.text.contains("secret") })
  }

  @Test
  func aDrainThatTimesOutIsLogged() async throws {
    let clock = ManualClock()
    let gate = GatedHandler<Batch<String>>.gated()
    let aggregator = try aggregator(
      .init(batchSize: 1, drainTimeout: .seconds(5)), clock: clock, onFailure: { _ in }
    ) { try await gate($0) }
    try await whileRunning(aggregator, releasing: gate.open) { run in
      try await aggregator.send(contentsOf: ["secret", "secret", "secret"])
      _ = try await gate.call(0)
      aggregator.shutdown()
      try await clock.waitForSleeper(until: .seconds(5))
      clock.advance(by: .seconds(5))
      try await run.value
    }
    let entry = try #require(entries("drain timed out, handlers are cancelled and the rest is given up").first)
    #expect(entry.level == .info)
    #expect(entries("batch failed").allSatisfy { $0.metadata["error.type"] == "AggregatorError.drainTimedOut" })
    #expect(entries("batch failed").count == 3)
    #expect(!logs.entries.contains { $0.text.contains("secret") })
  }

  @Test
  func nothingIsAboveInfoAndNothingIsLoggedThatIsNotWanted() async throws {
    let aggregator = try aggregator(
      .init(batchSize: 1, retry: .exponential(maximumAttempts: 2, initial: .zero, maximum: .zero)), level: .notice
    ) { _ in throw Indiscreet() }
    try await whileRunning(aggregator) { _ in
      try await aggregator.send(contentsOf: ["secret", "secret"])
      try await aggregator.flush()
    }
    #expect(logs.entries.isEmpty)
  }
}
