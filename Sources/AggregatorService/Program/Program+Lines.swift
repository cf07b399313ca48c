import AggregatorStorage
import Batching

/// Standard input.
extension Program {
  func readLines(sink: any Sink, ledger: Ledger) async throws -> ExitCode {
    let input = try StandardInput()
    let deadLetters = try options.deadLetters.map { try DeadLetters(path: $0) }
    let stoppedBy = StopCause()
    let malformed = try await untilSignalled {
      try await storeLines(of: input, sink: sink, deadLetters: deadLetters, ledger: ledger)
    } stop: { signal in
      stoppedBy.set(signal)
      input.stop()
    }
    try await deadLetters?.close()
    if malformed > 0 { console.say("aggregator: left out \(malformed) malformed lines") }
    if ledger.current.failed > 0 { return .notStored }
    if let signal = stoppedBy.signal { return .signal(signal) }
    return malformed > 0 ? .malformedLines : .success
  }

  /// Returns how many lines were malformed.
  private func storeLines(
    of input: StandardInput, sink: any Sink, deadLetters: DeadLetters?, ledger: Ledger
  ) async throws -> Int {
    let stream = options.stream
    return try await withAggregator(
      of: Message.self,
      name: "lines",
      configuration: AggregatorConfiguration(
        batchSize: options.batchSize,
        linger: options.linger,
        concurrency: options.concurrency,
        capacity: options.capacity,
        // Nobody waits for an answer, and standard input waits as long as it takes: patience costs nothing.
        retry: .exponential(
          maximumAttempts: 12, initial: .milliseconds(50), maximum: .seconds(5), isolatesPoisonMessages: true),
        handlerTimeout: options.storeTimeout,
        drainTimeout: options.drainTimeout
      ),
      clock: AlarmClock(),
      logger: logger
    ) { batch in
      let began = ContinuousClock.now
      try await sink.write(batch.messages, to: stream)
      ledger.batchEnded(stream: stream, messages: batch.count, took: .now - began, error: nil)
    } onFailure: { failure in
      await giveUp(failure, deadLetters: deadLetters)
      ledger.buried(stream: stream, messages: failure.items.count)
    } body: { aggregator in
      try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { await showProgress(ledger) }
        defer { group.cancelAll() }
        var source = LineSource(input: input, options: options) { line in
          console.say("aggregator: \(line)")
        } send: { messages in
          try await aggregator.send(contentsOf: messages)
        }
        try await source.run()
        return source.malformed
      }
    }
  }

  private func giveUp(_ failure: BatchFailure<Message>, deadLetters: DeadLetters?) async {
    let count = failure.items.count
    guard let deadLetters else {
      console.say("aggregator: \(count) messages could not be stored: \(failure.error)")
      return
    }
    let burials = failure.items.map {
      Burial(stream: options.stream, message: $0.message, error: "\($0.error)", attempts: failure.attempts)
    }
    do {
      try await deadLetters.keep(burials)
      console.say("aggregator: \(count) messages are dead letters now: \(failure.error)")
    } catch {
      console.say("aggregator: \(count) messages could not be stored (\(failure.error)) nor kept: \(error)")
    }
  }

  private func showProgress(_ ledger: Ledger) async {
    while (try? await Task.sleep(for: .milliseconds(250))) != nil {
      let numbers = ledger.current
      console.progress("stored \(numbers.messages) messages in \(numbers.batches) batches")
    }
  }
}
