import AggregatorStorage
import Hummingbird
import HummingbirdTesting
import Logging
import ServiceLifecycle

@testable import AggregatorService

/// The server for clients on a live port, with what stores their messages behind it.
struct LiveServer {
  let intake: Intake
  let tokens: TokenStore
  private let options: ProgramOptions

  init(
    _ options: ProgramOptions, sink: any Sink, ledger: Ledger = Ledger(), journal: Journal? = nil,
    deadLetters: DeadLetters? = nil
  ) throws {
    self.options = options
    tokens = try TokenStore(path: options.tokens)
    let meters = Meters(clock: .starting(at: 0))
    let observer = Observers(meters: meters, ledger: ledger)
    let storing: any Storing =
      if let journal {
        try JournalStoring(
          options: options, journal: journal, sink: sink, deadLetters: deadLetters, observer: observer, logger: quiet)
      } else {
        try GroupCommit(
          options: options, sink: sink, deadLetters: deadLetters, observer: observer, logger: quiet)
      }
    intake = Intake(storing: storing, meters: meters, options: options)
  }

  /// Serves while the test runs, and settles what is held.
  func serve(_ test: @escaping @Sendable (any TestClientProtocol) async throws -> Void) async throws {
    let source = HTTPSource(
      host: "127.0.0.1", port: 0, options: options, intake: intake, tokens: tokens, connections: ConnectionCount(),
      logger: quiet, onListening: { _ in })
    let application = try source.application()
    let storing = ServiceGroup(
      configuration: ServiceGroupConfiguration(
        services: [.init(service: StoringService(storing: intake.storing))], logger: quiet))
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await storing.run() }
      do {
        try await application.test(.live) { try await test($0) }
      } catch {
        await storing.triggerGracefulShutdown()
        throw error
      }
      await storing.triggerGracefulShutdown()
      try await group.waitForAll()
    }
  }
}

/// Says nothing but the worst.
let quiet: Logger = {
  var logger = Logger(label: "test")
  logger.logLevel = .critical
  return logger
}()
