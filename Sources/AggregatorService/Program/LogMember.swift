import AggregatorStorage
import Batching
import Foundation
import ServiceLifecycle
import Synchronization

/// The program as a member of those who share the messages of a distributed log: reads, stores, and acknowledges after the commit.
struct LogMember: Sendable {
  let program: Program
  let url: String
  let sink: any Sink
  let ledger: Ledger

  private var options: ProgramOptions { program.options }

  /// Runs until it is told to stop; what is in memory then is stored, or given back to the log.
  func run() async throws -> ExitCode {
    let deadLetters = try options.deadLetters.map { try DeadLetters(path: $0) }
    let meters = Meters(clock: .starting(at: Date().timeIntervalSince1970))
    let consumer = try LogEngines.engine(for: url).consumer(url, options, program.logger)
    var keep: LogBurial.Keep?
    if let deadLetters {
      keep = { burials in
        try await deadLetters.keep(
          burials.map {
            Burial(
              stream: $0.message.stream, message: $0.message.message, error: "\($0.error)", attempts: $0.attempts)
          })
      }
    }
    let pipeline = try LogPipeline(
      consumer: consumer, sink: sink, keep: keep, options: Self.pipelineOptions(options),
      observer: Observers(meters: meters, ledger: ledger), logger: program.logger)
    try await run(pipeline, meters, deadLetters)
    try await deadLetters?.close()
    return .success
  }

  private func run(_ pipeline: LogPipeline, _ meters: Meters, _ deadLetters: DeadLetters?) async throws {
    let current = Mutex(options)
    let isDraining = Atomic(false)
    let outlook = Outlook(
      sink: sink, journal: nil, deadLetters: deadLetters, current: { current.withLock { $0 } },
      isDraining: { isDraining.load(ordering: .relaxed) }, held: { pipeline.statistics.held },
      lag: { pipeline.lag })
    var services: [any Service] = []
    if let admin = program.adminService(outlook, meters: meters, flush: { try await pipeline.flush() }) {
      services.append(admin)
    }
    if let loader = program.loader {
      let tokens = try TokenStore(path: nil)
      services.append(
        Reloading(loader: loader, options: options, tokens: tokens, logger: program.logger) { options in
          let new = Self.pipelineOptions(options)
          try pipeline.reconfigure(
            batchSize: new.batchSize, linger: new.linger, concurrency: new.concurrency, capacity: new.capacity)
          program.logLevel?.current = options.logLevel
          current.withLock { $0 = options }
        })
    }
    services.append(pipeline)
    let group = ServiceGroup(
      configuration: ServiceGroupConfiguration(services: services.map { .init(service: $0) }, logger: program.logger))
    program.console.say("aggregator: taking messages from \(options.source), storing them in \(options.target)")
    try await program.untilSignalled {
      try await group.run()
    } stop: { _ in
      isDraining.store(true, ordering: .relaxed)
      await group.triggerGracefulShutdown()
    }
  }

  private static func pipelineOptions(_ options: ProgramOptions) -> LogPipelineOptions {
    var pipeline = LogPipelineOptions()
    pipeline.batchSize = options.batchSize
    pipeline.linger = options.linger
    pipeline.concurrency = options.concurrency
    pipeline.capacity = max(min(options.capacity, 16 * options.batchSize * options.concurrency), options.batchSize)
    pipeline.writeTimeout = options.storeTimeout
    pipeline.initialBackoff = options.initialBackoff
    pipeline.maximumBackoff = options.maximumBackoff
    pipeline.drainTimeout = options.drainTimeout
    return pipeline
  }
}
