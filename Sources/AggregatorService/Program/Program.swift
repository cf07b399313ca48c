import AggregatorStorage
import Batching
import Foundation
package import Logging
import ServiceLifecycle
import Synchronization
import UnixSignals

/// The program: opens the sink, takes messages from the source until it is told to stop, stores what it has taken, and says
/// in one line what it did.
package struct Program: Sendable {
  let options: ProgramOptions
  let logger: Logger
  let console = Console()

  /// Makes a program that does what the options say.
  package init(options: ProgramOptions, logger: Logger) {
    self.options = options
    self.logger = logger
  }

  /// Runs until the input ends or a signal comes.
  ///
  /// The first SIGINT or SIGTERM begins an orderly end, a second one ends the process at once.
  ///
  /// - Throws: ``ProgramError`` when it cannot start.
  package func run() async throws -> ExitCode {
    try options.validate()
    let sink = try openSink()
    let ledger = Ledger()
    let code: ExitCode
    do {
      code =
        switch options.source {
        case .http(let host, let port), .https(let host, let port):
          try await serve(host: host, port: port, sink: sink, ledger: ledger)
        case .standardInput: try await readLines(sink: sink, ledger: ledger)
        }
    } catch {
      try? await sink.close()
      throw error
    }
    do {
      try await sink.close()
    } catch {
      console.say("aggregator: closing \(options.target): \(error)")
    }
    console.say("aggregator: \(ledger.current.summary(batchSize: options.batchSize))")
    return code
  }

  private func openSink() throws -> any Sink {
    switch options.target {
    case .sqlite(let path):
      let sink = try SQLiteSink(path: path)
      try sink.prepare(.messages)
      return sink
    case .postgres, .http, .files, .standardOutput: throw ProgramError("not built yet")
    }
  }

  // MARK: HTTP

  private func serve(host: String, port: Int, sink: any Sink, ledger: Ledger) async throws -> ExitCode {
    let storing = try GroupCommit(options: options, sink: sink, ledger: ledger, logger: logger)
    let intake = Intake(storing: storing, options: options)
    let hasListened = Atomic(false)
    let source = HTTPSource(
      host: host, port: port, options: options, intake: intake, tokens: nil, connections: ConnectionCount(),
      logger: logger
    ) { port in
      hasListened.store(true, ordering: .relaxed)
      let address = Source.http(host: host, port: port)
      console.say("aggregator: taking messages at \(address)/v1/messages, storing them in \(options.target)")
    }
    let group = ServiceGroup(
      configuration: ServiceGroupConfiguration(services: [.init(service: try source.application())], logger: logger))
    do {
      try await untilSignalled {
        try await group.run()
      } stop: { _ in
        intake.stopTaking()
        await group.triggerGracefulShutdown()
      }
    } catch {
      throw hasListened.load(ordering: .relaxed)
        ? ProgramError("the server ended: \(error)") : HTTPSource.explain(error, host: host, port: port)
    }
    return .success
  }

  // MARK: Standard input

  private func readLines(sink: any Sink, ledger: Ledger) async throws -> ExitCode {
    let input = try StandardInput()
    let stoppedBy = StopCause()
    let malformed = try await untilSignalled {
      try await storeLines(of: input, sink: sink, ledger: ledger)
    } stop: { signal in
      stoppedBy.set(signal)
      input.stop()
    }
    if malformed > 0 { console.say("aggregator: left out \(malformed) malformed lines") }
    if ledger.current.failed > 0 { return .notStored }
    if let signal = stoppedBy.signal { return .signal(signal) }
    return malformed > 0 ? .malformedLines : .success
  }

  /// Returns how many lines were malformed.
  private func storeLines(of input: StandardInput, sink: any Sink, ledger: Ledger) async throws -> Int {
    try await withAggregator(
      of: Message.self,
      name: "lines",
      configuration: AggregatorConfiguration(
        batchSize: options.batchSize,
        linger: options.linger,
        concurrency: options.concurrency,
        capacity: options.capacity,
        // Nobody waits for an answer, and standard input waits as long as it takes: patience costs nothing.
        retry: .exponential(maximumAttempts: 12, initial: .milliseconds(50), maximum: .seconds(5)),
        drainTimeout: options.drainTimeout
      ),
      logger: logger
    ) { batch in
      try await sink.write(batch.messages, to: .messages)
      ledger.stored(batch.count)
    } onFailure: { failure in
      ledger.failed(failure.items.count)
      console.say("aggregator: \(failure.items.count) messages could not be stored: \(failure.error)")
    } body: { aggregator in
      try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { await showProgress(ledger) }
        defer { group.cancelAll() }
        var source = LineSource(input: input, longestLine: options.maximumBody) { line in
          console.say("aggregator: \(line)")
        } send: { messages in
          try await aggregator.send(contentsOf: messages)
        }
        try await source.run()
        return source.malformed
      }
    }
  }

  private func showProgress(_ ledger: Ledger) async {
    while (try? await Task.sleep(for: .milliseconds(250))) != nil {
      let numbers = ledger.current
      console.progress("stored \(numbers.messages) messages in \(numbers.batches) batches")
    }
  }

  // MARK: Signals

  /// Runs `work`; the first signal calls `stop`, which makes it end, and a second one ends the process.
  private func untilSignalled<Output: Sendable>(
    _ work: @escaping @Sendable () async throws -> Output, stop: @escaping @Sendable (Int32) async -> Void
  ) async throws -> Output {
    let signals = await UnixSignalsSequence(trapping: .sigint, .sigterm)
    return try await withThrowingTaskGroup(of: Output?.self) { group in
      group.addTask { try await work() }
      group.addTask {
        var isStopping = false
        for await signal in signals {
          if isStopping {
            console.say("aggregator: ended by a second signal; what was not acknowledged may be lost")
            Foundation._exit(128 + signal.rawValue)
          }
          isStopping = true
          console.say("aggregator: stopping; storing what was taken (a second signal ends at once)")
          await stop(signal.rawValue)
        }
        return nil
      }
      defer { group.cancelAll() }
      while let output = try await group.next() {
        if let output { return output }
      }
      throw CancellationError()
    }
  }
}
