import Batching
import InMemoryLogging
import Logging
import Testing

@Suite("What is logged", .timeLimit(.minutes(5)))
struct LogLines {
  private let logs = InMemoryLogHandler()

  private var logger: Logger {
    var logger = Logger(label: "test") { [logs] _ in logs }
    logger.logLevel = .trace
    return logger
  }

  @Test(arguments: batchSizes)
  func aFailedBatchThatNobodyTakesIsLoggedWithNumbersAndNoContents(batchSize: Int) async throws {
    let aggregator = try Aggregator<String>(
      configuration: .init(batchSize: batchSize), logger: logger
    ) { _ in throw Failure() }
    try await whileRunning(aggregator) { _ in
      try await aggregator.send(contentsOf: (0..<batchSize).map { _ in "secret" })
      try await aggregator.flush()
      #expect(logs.entries.count { $0.says("\(batchSize)") } == 1)
    }
    #expect(!logs.entries.contains { $0.text.contains("secret") })
  }

  @Test
  func eachFailedBatchThatNobodyTakesIsLogged() async throws {
    let aggregator = try Aggregator<String>(configuration: .init(batchSize: 5), logger: logger) { _ in throw Failure() }
    try await whileRunning(aggregator) { _ in
      for _ in 0..<3 { try await aggregator.send(contentsOf: (0..<5).map { _ in "secret" }) }
      try await aggregator.flush()
      #expect(logs.entries.count { $0.says("5") } == 3)
    }
  }

  @Test
  func retriesAndFailuresThatAreTakenShowNoContents() async throws {
    let aggregator = try Aggregator<String>(
      configuration: .init(
        batchSize: 4,
        retry: .exponential(maximumAttempts: 2, initial: .zero, maximum: .zero, isolatesPoisonMessages: true)),
      logger: logger
    ) { _ in
      throw Failure()
    } onFailure: { _ in
    }
    try await whileRunning(aggregator) { _ in
      try await aggregator.send(contentsOf: (0..<8).map { _ in "secret" })
    }
    #expect(!logs.entries.contains { $0.text.contains("secret") })
  }

  @Test
  func withoutALoggerNothingIsNeeded() async throws {
    let aggregator = try Aggregator<Int>(configuration: .init(batchSize: 1)) { _ in throw Failure() }
    try await whileRunning(aggregator) { _ in try await aggregator.send(1) }
    #expect(aggregator.statistics.failed == 1)
  }
}
