public import Batching

/// What became of the messages of ``Simulation/run(sending:configuration:weight:handler:onFailure:)``.
public struct SimulationOutcome<Message: Hashable & Sendable>: Sendable {
  /// Messages that the aggregator accepted, each of which it handled, or gave to the failure handler.
  public let accepted: [Message]
  /// Messages that it refused, or that were not sent any more: their senders know that.
  public let refused: [Message]
  /// The aggregator's numbers after the end.
  public let statistics: AggregatorStatistics
}

/// When, and how, the aggregator comes to its end.
private enum End { case whenAllIsSent, shutdown(after: Duration), cancellation(after: Duration) }

extension Simulation {
  /// Runs an aggregator from its beginning to its end, with tasks that send it these messages.
  ///
  /// How many tasks send, in which way, and what goes wrong is up to the seed and ``faults``. The aggregator's promises are
  /// checked all the while.
  ///
  /// - Parameters:
  ///   - messages: What is sent; no two of them equal.
  ///   - configuration: Sizes, times and policies; `nil` leaves them to the seed (``anyConfiguration(isWeighted:)``).
  ///   - weight: What a message weighs.
  ///   - handler: Your handler. It sees what an aggregator's handler sees, and is called or not as the faults will.
  ///   - onFailure: Your failure handler.
  /// - Returns: What was accepted, and what was not, when all is settled.
  /// - Throws: `AggregatorError` for a bad configuration.
  @discardableResult
  public func run<Message: Hashable & Sendable>(
    sending messages: some Sequence<Message>,
    configuration: AggregatorConfiguration? = nil,
    weight: (@Sendable (Message) -> Int)? = nil,
    handler: @escaping @Sendable (Batch<Message>) async throws -> Void,
    onFailure: (@Sendable (BatchFailure<Message>) async -> Void)? = nil
  ) async throws -> SimulationOutcome<Message> {
    let messages = Array(messages)
    let configuration = configuration ?? anyConfiguration(isWeighted: weight != nil)
    note("\(configuration)")
    let statistics = Watched<(@Sendable () -> AggregatorStatistics)?>(nil)
    let audit = Audit(
      simulation: self, configuration: configuration, capacity: configuration.effectiveCapacity, weight: weight,
      statistics: { statistics.current?() ?? AggregatorStatistics() })
    let aggregator = try Aggregator<Message>(
      configuration: configuration, clock: clock, random: { self.jitter() }, weight: weight,
      handler: surround(handler, audit), onFailure: surround(onFailure, audit))
    statistics.change { $0 = { aggregator.statistics } }
    add(audit, messages: messages.count)
    return await drive(aggregator, audit, messages) { body in
      try await withRunning(aggregator) { _ in await body() }
    }
  }

  /// The same with a ``KeyedAggregator``.
  ///
  /// - Parameters:
  ///   - messages: What is sent; no two of them equal.
  ///   - key: The key of a message.
  ///   - configuration: Sizes, times and policies; `nil` leaves them to the seed (``anyConfiguration(isWeighted:)``).
  ///   - weight: What a message weighs.
  ///   - handler: Your handler.
  ///   - onFailure: Your failure handler.
  /// - Returns: What was accepted, and what was not, when all is settled.
  /// - Throws: `AggregatorError` for a bad configuration.
  @discardableResult
  public func run<Key: Hashable & Sendable, Message: Hashable & Sendable>(
    sending messages: some Sequence<Message>,
    key: @escaping @Sendable (Message) -> Key,
    configuration: AggregatorConfiguration? = nil,
    weight: (@Sendable (Message) -> Int)? = nil,
    handler: @escaping @Sendable (Key, Batch<Message>) async throws -> Void,
    onFailure: (@Sendable (Key, BatchFailure<Message>) async -> Void)? = nil
  ) async throws -> SimulationOutcome<Message> {
    let messages = Array(messages)
    let configuration = configuration ?? anyConfiguration(isWeighted: weight != nil)
    note("\(configuration)")
    let statistics = Watched<(@Sendable () -> AggregatorStatistics)?>(nil)
    let audit = Audit(
      simulation: self, configuration: configuration, capacity: configuration.effectiveCapacity, weight: weight,
      key: { AnyHashable(key($0)) },
      statistics: { statistics.current?() ?? AggregatorStatistics() })
    // What the aggregator says is the key must be the one of each message.
    let handle = surround({ try await handler(key($0[0]), $0) }, audit)
    let giveUp = surround({ await onFailure?(key($0.items[0].message), $0) }, audit)
    let aggregator = try KeyedAggregator<Key, Message>(
      configuration: configuration, clock: clock, random: { self.jitter() }, weight: weight, key: key,
      handler: { named, batch in
        audit.check(batch.allSatisfy { key($0) == named }, "batch \(batch.messages) was handed over as of key \(named)")
        try await handle(batch)
      },
      onFailure: { named, failure in
        audit.check(failure.messages.allSatisfy { key($0) == named }, "\(failure.messages) failed as of key \(named)")
        await giveUp(failure)
      })
    statistics.change { $0 = { aggregator.statistics } }
    add(audit, messages: messages.count)
    return await drive(aggregator, audit, messages, within: nil)
  }

  private func drive<Driven: DrivenAggregator>(
    _ aggregator: Driven, _ audit: Audit<Driven.Message>, _ messages: [Driven.Message],
    within: (@Sendable (@escaping @Sendable () async -> Void) async throws -> Void)?
  ) async -> SimulationOutcome<Driven.Message> {
    let drive = Drive(simulation: self, aggregator: aggregator, audit: audit, within: within)
    let accepted = await drive.fromBeginningToEnd(messages)
    audit.checkEnd()
    let known = Set(accepted)
    return SimulationOutcome(
      accepted: accepted, refused: messages.filter { !known.contains($0) }, statistics: aggregator.statistics)
  }
}

/// What a simulation can drive.
private protocol DrivenAggregator: Sendable {
  associatedtype Message: Hashable & Sendable
  var statistics: AggregatorStatistics { get }
  var configuration: AggregatorConfiguration { get }
  func reconfigure(_ configuration: AggregatorConfiguration) throws(AggregatorError)
  func send(_ message: Message) async throws
  func send(contentsOf messages: some Sequence<Message>) async throws(AggregatorError)
  func trySend(_ message: Message) -> TrySendResult
  func flush() async throws
  func shutdown()
  func run() async throws
}

extension Aggregator: DrivenAggregator where Message: Hashable {}
extension KeyedAggregator: DrivenAggregator where Message: Hashable {}

/// Sends to an aggregator, flushes it, and brings it to its end, as the seed decides.
private struct Drive<Driven: DrivenAggregator>: Sendable {
  typealias Message = Driven.Message

  let simulation: Simulation
  let aggregator: Driven
  let audit: Audit<Message>
  /// Runs the aggregator for as long as something takes, where there is such a way.
  let within: (@Sendable (@escaping @Sendable () async -> Void) async throws -> Void)?

  /// Returns the messages that were accepted.
  func fromBeginningToEnd(_ messages: [Message]) async -> [Message] {
    let runsWithin = simulation.chance(0.2) && within != nil
    let end = anyEnd()
    let accepted = Watched<[Message]>([])
    let run = inBackground {
      // Most aggregators run before anything is sent.
      if simulation.chance(0.2) { await simulation.pause() }
      // A task that is cancelled before it gets to run() cancels it all the same.
      audit.runBegan()
      do {
        if runsWithin, let within {
          audit.isEndAwaited = false
          try await within {
            await sendAll(messages, accepted)
            // It is shut down when this returns.
            audit.shutDown()
            audit.isEndAwaited = true
          }
        } else {
          try await aggregator.run()
        }
        audit.runEnded(nil)
      } catch {
        audit.runEnded(error)
      }
    }
    let others = inBackground {
      await withDiscardingTaskGroup { group in
        for _ in 0..<simulation.random(in: 0...3) { group.addTask { await flush() } }
        group.addTask { await bringToEnd(end, run) }
        if simulation.faults.contains(.reconfigurations), simulation.chance(0.3) {
          group.addTask { await reconfigure() }
        }
      }
    }
    if !runsWithin {
      await sendAll(messages, accepted)
      if simulation.chance(0.3) { await flush() }
      await simulation.pause()
      shutdown()
    }
    await run.value
    await others.value
    return accepted.current
  }

  /// Changes, now and then, what can be changed.
  private func reconfigure() async {
    for _ in 0..<simulation.random(in: 1...4) {
      try? await simulation.clock.sleep(for: .milliseconds(simulation.random(in: 0...30)))
      let other = simulation.anyConfiguration()
      var configuration = aggregator.configuration
      configuration.batchSize = other.batchSize
      configuration.linger = other.linger
      configuration.concurrency = other.concurrency
      configuration.capacity = other.capacity
      do {
        try aggregator.reconfigure(configuration)
        audit.reconfigured(configuration, capacity: configuration.effectiveCapacity)
      } catch {
        simulation.found("\(configuration) was refused: \(error)")
      }
    }
  }

  private func anyEnd() -> End {
    let time = Duration.milliseconds(simulation.random(in: 0...80))
    if simulation.faults.contains(.cancelledRuns), simulation.chance(0.15) { return .cancellation(after: time) }
    if simulation.faults.contains(.earlyShutdowns), simulation.chance(0.2) { return .shutdown(after: time) }
    return .whenAllIsSent
  }

  private func bringToEnd(_ end: End, _ run: Task<Void, Never>) async {
    switch end {
    case .whenAllIsSent: break
    case .shutdown(let time):
      try? await simulation.clock.sleep(for: time)
      shutdown()
    case .cancellation(let time):
      try? await simulation.clock.sleep(for: time)
      audit.runCancelled()
      run.cancel()
    }
  }

  private func shutdown() {
    audit.shutDown()
    aggregator.shutdown()
  }

  /// A task that is not a child, so that it can be cancelled alone.
  private func inBackground(_ body: @escaping @Sendable () async -> Void) -> Task<Void, Never> {
    Task(executorPreference: simulation.executor) { await body() }
  }

  // MARK: - Senders

  private func sendAll(_ messages: [Message], _ accepted: Watched<[Message]>) async {
    let count = simulation.random(in: 1...5)
    var shares = [[Message]](repeating: [], count: count)
    for message in messages { shares[simulation.random(in: 0...(count - 1))].append(message) }
    let senders = shares.map { share in inBackground { await send(share, accepted) } }
    if simulation.faults.contains(.cancelledSenders), simulation.chance(0.3) {
      try? await simulation.clock.sleep(for: .milliseconds(simulation.random(in: 0...20)))
      senders[simulation.random(in: 0...(count - 1))].cancel()
    }
    for sender in senders { await sender.value }
  }

  /// Sends one after the other, in several ways; goes on after a refusal, and now and then in a cancelled task too.
  private func send(_ share: [Message], _ accepted: Watched<[Message]>) async {
    var rest = share[...]
    while let message = rest.first {
      await simulation.pause()
      let sent: [Message]
      switch simulation.random(in: 0...3) {
      case 0:
        sent = Array(rest.prefix(simulation.random(in: 1...6)))
        await send(contentsOf: sent, accepted)
      case 1:
        sent = [message]
        if !trySend(message, accepted) { await send(message, accepted) }
      default:
        sent = [message]
        await send(message, accepted)
      }
      rest = rest.dropFirst(sent.count)
      if Task.isCancelled, simulation.chance(0.5) { return }
    }
  }

  private func send(_ message: Message, _ accepted: Watched<[Message]>) async {
    let id = audit.sendBegan([message])
    do {
      try await aggregator.send(message)
      audit.sendEnded(id, accepted: 1)
      accepted.change { $0.append(message) }
    } catch {
      audit.sendEnded(id, accepted: 0, error: error)
    }
  }

  private func send(contentsOf messages: [Message], _ accepted: Watched<[Message]>) async {
    let id = audit.sendBegan(messages)
    do {
      // Contiguous, or gathered from an iterator.
      if simulation.chance(0.5) {
        try await aggregator.send(contentsOf: messages)
      } else {
        try await aggregator.send(contentsOf: messages.lazy.filter { _ in true })
      }
      audit.sendEnded(id, accepted: messages.count)
      accepted.change { $0 += messages }
    } catch {
      audit.sendEnded(id, accepted: error.acceptedCount, error: error)
      accepted.change { $0 += messages.prefix(error.acceptedCount) }
    }
  }

  private func trySend(_ message: Message, _ accepted: Watched<[Message]>) -> Bool {
    let id = audit.sendBegan([message])
    switch aggregator.trySend(message) {
    case .accepted:
      audit.sendEnded(id, accepted: 1)
      accepted.change { $0.append(message) }
      return true
    case .closed: audit.sendEnded(id, accepted: 0, error: AggregatorError.closed)
    case .full: audit.sendEnded(id, accepted: 0, error: AggregatorError.full)
    case .tooHeavy: audit.sendEnded(id, accepted: 0, error: AggregatorError.tooHeavy)
    }
    return false
  }

  private func flush() async {
    try? await simulation.clock.sleep(for: .milliseconds(simulation.random(in: 0...60)))
    let isImpatient = simulation.chance(0.2)
    let flush = inBackground {
      let id = audit.flushBegan()
      do {
        try await aggregator.flush()
        audit.flushEnded(id)
      } catch {
        audit.flushEnded(id, error: error)
      }
    }
    if isImpatient {
      await simulation.pause()
      flush.cancel()
    }
    await flush.value
  }
}
