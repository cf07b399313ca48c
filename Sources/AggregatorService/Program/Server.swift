import AggregatorStorage
import Foundation
import Hummingbird
import Logging
import ServiceLifecycle
import Synchronization

/// The program as a server: puts together who takes messages, who stores them, and who looks on.
struct Server: Sendable {
  let program: Program
  let host: String
  let port: Int
  let sink: any Sink
  let ledger: Ledger

  private var options: ProgramOptions { program.options }
  private var logger: Logger { program.logger }

  /// Serves until it is told to stop, then stores what was taken.
  func run() async throws -> ExitCode {
    let deadLetters = try options.deadLetters.map { try DeadLetters(path: $0) }
    let journal = try options.journal.map { try Journal(path: $0, maximumBytes: options.maximumJournal) }
    let meters = Meters(clock: .starting(at: Date().timeIntervalSince1970))
    let observer = Observers(meters: meters, ledger: ledger)
    var streams: Set<StreamName> = []
    for (stream, messages) in try await journal?.messagesByStream() ?? [:] {
      streams.insert(stream)
      meters.meter(for: stream).recovered(messages: messages)
    }
    let storing: any Storing =
      if let journal {
        try JournalStoring(
          options: options, journal: journal, sink: sink, deadLetters: deadLetters, observer: observer, logger: logger)
      } else {
        try GroupCommit(
          options: options, sink: sink, deadLetters: deadLetters, observer: observer, logger: logger)
      }
    let intake = Intake(storing: storing, meters: meters, options: options, streams: streams)
    try await serve(
      intake,
      Surroundings(
        journal: journal, deadLetters: try deadLetters ?? journal.map { try DeadLetters(path: $0.path) },
        connections: ConnectionCount()))
    try await journal?.close()
    try await deadLetters?.close()
    return .success
  }

  /// What there is beside the intake.
  struct Surroundings: Sendable {
    let journal: Journal?
    let deadLetters: DeadLetters?
    let connections: ConnectionCount
  }

  private func serve(_ intake: Intake, _ surroundings: Surroundings) async throws {
    let tokens = try TokenStore(path: options.tokens)
    let current = Mutex(options)
    // 0 until it listens.
    let listening = Atomic(0)
    let source = HTTPSource(
      host: host, port: port, options: options, intake: intake, tokens: tokens, connections: surroundings.connections,
      logger: logger
    ) { port in
      listening.store(port, ordering: .relaxed)
      let address = options.source.withPort(port)
      program.console.say("aggregator: taking messages at \(address)/v1/messages, storing them in \(options.target)")
    }
    // They are shut down from the last to the first.
    var services: [any Service] = []
    let outlook = Outlook(
      sink: sink, journal: surroundings.journal, deadLetters: surroundings.deadLetters,
      current: {
        var options = current.withLock { $0 }
        let port = listening.load(ordering: .relaxed)
        if port > 0 { options.source = options.source.withPort(port) }
        return options
      },
      isDraining: { intake.isClosing }, held: { intake.storing.held },
      connections: surroundings.connections)
    if let admin = program.adminService(outlook, meters: intake.meters, flush: { try await intake.storing.flush() }) {
      services.append(admin)
    }
    services.append(StoringService(storing: intake.storing))
    if let loader = program.loader {
      services.append(
        Reloading(loader: loader, options: options, tokens: tokens, logger: logger) { options in
          try intake.reconfigure(options)
          program.logLevel?.current = options.logLevel
          current.withLock { $0 = options }
        })
    }
    services.append(try source.application())
    let group = ServiceGroup(
      configuration: ServiceGroupConfiguration(services: services.map { .init(service: $0) }, logger: logger))
    do {
      try await program.untilSignalled {
        try await group.run()
      } stop: { _ in
        intake.stopTaking()
        await group.triggerGracefulShutdown()
      }
    } catch let error as ProgramError {
      throw error
    } catch {
      throw listening.load(ordering: .relaxed) > 0
        ? ProgramError("the server ended: \(error)") : HTTPSource.explain(error, host: host, port: port)
    }
  }
}
