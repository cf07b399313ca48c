extension Core {
  /// Settles a batch whose first attempt was no plain success: calls the handler again where the policy says so, and gives up
  /// what it does not handle.
  ///
  /// `inFlight` is how many messages the machine counts as such when it begins.
  func settle(
    _ part: Part<Message>, _ first: Verdict<Message>, epoch: Int, inFlight: Int, saver: FailureSaver
  ) async {
    var part = part
    var verdict = first
    var inFlight = inFlight
    var parts: [Part<Message>] = []  // the next one last
    while true {
      ask {
        $0.attemptEnded(
          count: inFlight, handled: verdict.handled, weight: verdict.handledWeight, now: time.now(), &$1)
      }
      if verdict.handled > 0 { handling.onSettled?(part.messages) }
      publish()
      for part in verdict.next {
        reporter.willRetry(
          messages: part.messages.count, attempt: part.attempt - 1, sequenceNumber: part.sequenceNumber,
          isHalf: part.isHalf, error: part.lastError, after: verdict.backOff)
      }
      if let failure = verdict.failure {
        await save(failure, weight: verdict.failureWeight, saver: saver)
      }
      if verdict.backOff > .zero, !verdict.next.isEmpty {
        // Ends early when the task is cancelled; the next look at the machine tells why.
        try? await time.sleep(until: time.now() + verdict.backOff)
      }
      parts.append(contentsOf: verdict.next.reversed())
      guard let next = parts.popLast() else { break }
      part = next
      let abort =
        Task.isCancelled
        ? abortReason()
        : machine.withLock { $0.attemptBegan(count: part.messages.count, isHalf: part.isHalf) }
      if abort != nil {
        inFlight = 0
        verdict = giveUp(part, abort)
      } else {
        inFlight = part.messages.count
        publish()
        verdict = await call(part.batch, part.annotations).map { judge(part, threw: $0) } ?? Verdict(handled: part)
      }
    }
    ask { $0.batchSettled(epoch: epoch, &$1) }
  }

  func report(_ failure: BatchFailure<Message>) {
    reporter.failed(
      messages: failure.items.count, attempts: failure.attempts, sequenceNumber: failure.sequenceNumber,
      error: failure.error, isSaved: handling.onFailure != nil)
  }

  private func save(_ failure: BatchFailure<Message>, weight: Int, saver: FailureSaver) async {
    report(failure)
    if let onFailure = handling.onFailure {
      await saver.run { await onFailure(failure) }
    }
    ask { $0.failuresSaved(count: failure.items.count, weight: weight, now: time.now(), &$1) }
    handling.onSettled?(failure.messages)
    publish()
  }

  /// Why nothing is to be tried any more, if so.
  ///
  /// A child of `run()` may hear of a cancellation before the machine does.
  func abortReason() -> AbortReason? {
    machine.withLock { $0.abortReason } ?? (Task.isCancelled ? .runCancelled : nil)
  }

  /// What becomes of messages that the handler is not to get any more.
  func giveUp(_ part: Part<Message>, _ abort: AbortReason?) -> Verdict<Message> {
    Verdict(givenUp: part, abort ?? .runCancelled)
  }

  /// What becomes of messages for which the handler threw.
  func judge(_ part: Part<Message>, threw error: any Error) -> Verdict<Message> {
    Verdict(
      part, threw: error, policy: handling.retry, abort: abortReason(), random: handling.random,
      number: { ask { machine, _ in machine.listMade() } })
  }

  /// One handler call; returns what it threw.
  ///
  /// Inlined for the sake of small batches: where nobody looks on, the handler's is the only async frame.
  @inline(__always)
  func call(_ batch: Batch<Message>, _ annotations: Annotations) async -> (any Error)? {
    guard callsAreBare else { return await callWatched(batch, annotations) }
    do {
      try await handling.handler(batch)
      return nil
    } catch {
      return error
    }
  }

  /// The same with all that may be around a call: a time limit, a span, measurements.
  @inline(never)
  private func callWatched(_ batch: Batch<Message>, _ annotations: Annotations) async -> (any Error)? {
    let began = metrics == nil && adapter == nil ? Duration.zero : time.now()
    var thrown: (any Error)?
    do {
      if let timeout = handling.timeout {
        try await call(batch, annotations, timeout: timeout)
      } else if spans != nil {
        try await handle(batch, annotations)
      } else {
        try await handling.handler(batch)
      }
    } catch {
      thrown = error
    }
    metrics?.handlerEnded(after: time.now() - began, threw: thrown != nil)
    if let adapter, thrown == nil { adapt(to: batch.contents.count, time: time.now() - began, adapter) }
    return thrown
  }

  /// The handler itself, in a span where calls are traced.
  private func handle(_ batch: Batch<Message>, _ annotations: Annotations) async throws {
    guard let spans else { return try await handling.handler(batch) }
    try await spans.around(batch, contexts: annotations.contexts) { try await handling.handler(batch) }
  }

  private enum TimedCallEvent {
    case returned
    case threw(any Error, wasCancelled: Bool)
    case timeIsUp
    case sleepEnded
  }

  /// A handler call that is cancelled when its time is up.
  ///
  /// What it does then counts: it may still return.
  private func call(_ batch: Batch<Message>, _ annotations: Annotations, timeout: Duration) async throws {
    let deadline = time.now() + timeout
    try await withThrowingTaskGroup(of: TimedCallEvent.self) { group in
      group.addTask {
        do {
          try await self.handle(batch, annotations)
          return .returned
        } catch {
          return .threw(error, wasCancelled: Task.isCancelled)
        }
      }
      group.addTask {
        do {
          try await self.time.sleep(until: deadline)
          return .timeIsUp
        } catch {
          return .sleepEnded
        }
      }
      var isTimedOut = false
      while let event = try await group.next() {
        switch event {
        case .returned:
          group.cancelAll()
          return
        case .threw(let error, let wasCancelled):
          group.cancelAll()
          // At the very moment when its time was up it may have thrown by itself.
          throw isTimedOut && wasCancelled ? AggregatorError.handlerTimedOut.because(error) : error
        case .timeIsUp:
          isTimedOut = true
          group.cancelAll()
          reporter.timedOut(
            messages: batch.messages.count, attempt: batch.attempt, sequenceNumber: batch.sequenceNumber)
        case .sleepEnded:
          break
        }
      }
    }
  }
}
