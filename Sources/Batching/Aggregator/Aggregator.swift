public import Logging
public import ServiceLifecycle

/// Collects messages and hands them to an async handler in batches.
///
/// A batch is due when `batchSize` messages are there, when its first message has waited for `linger`, on ``flush()``, or
/// on ``shutdown()``. At most `concurrency` handler calls run at once, at most `capacity` messages are held, and each
/// accepted message is settled exactly once: handled, or given to `onFailure` with the error that says why.
///
/// ```swift
/// let aggregator = try Aggregator<Event>(configuration: .init(batchSize: 500, linger: .milliseconds(20))) { batch in
///   try await database.insert(batch)
/// } onFailure: { failure in
///   await deadLetters.save(failure.messages, because: failure.error)
/// }
/// ```
///
/// It works while ``run()`` runs: add it to a `ServiceGroup`, before the services that send to it, or use
/// ``withAggregator(of:name:configuration:clock:logger:weight:handler:onFailure:body:)``. What is sent before waits.
///
/// **At least once.** A handler that throws after it has done part of its work sees those messages again when it is retried,
/// and they are given to `onFailure` when it is not. Make it a transaction, make repeats harmless, or name what failed with
/// ``PartialBatchFailure``.
///
/// **Order.** If one send has returned before another begins, its message comes first. With `concurrency: 1` batches are
/// handled in that order too, retries included.
public final class Aggregator<Message: Sendable>: Service, Sendable {
  @usableFromInline let core: Core<Message>

  /// Makes an aggregator, which takes messages from now on and handles them once ``run()`` is called.
  ///
  /// - Parameters:
  ///   - name: The label of its metrics, logs and spans.
  ///   - configuration: Sizes, times and policies.
  ///   - clock: What `linger`, time-outs and back-offs are measured on.
  ///   - logger: Where it logs, at `info` and below, never the contents of a message. `nil` logs nothing.
  ///   - weight: What a message weighs, in any unit, for the limits `maximumBatchWeight` and `maximumHeldWeight`; called by
  ///     its sender, once for each message that is accepted. Less than zero counts as zero.
  ///   - handler: Handles a batch. Its messages are handled when it returns. It is cancelled when it takes longer than
  ///     `handlerTimeout`, when the drain takes longer than `drainTimeout`, and when the task of `run()` is cancelled.
  ///   - onFailure: Gets messages that are given up. It is never called in a cancelled task, and its messages count as
  ///     settled when it returns. Without it they are counted and logged.
  /// - Throws: ``AggregatorError/invalidConfiguration(_:was:allowed:)`` for a value that makes no sense.
  @inlinable
  public init(
    name: String = "aggregator",
    configuration: AggregatorConfiguration = .init(),
    clock: any Clock<Duration> = ContinuousClock(),
    logger: Logger? = nil,
    weight: (@Sendable (Message) -> Int)? = nil,
    handler: @escaping @Sendable (Batch<Message>) async throws -> Void,
    onFailure: (@Sendable (BatchFailure<Message>) async -> Void)? = nil
  ) throws(AggregatorError) {
    core = try Core(
      name: name, configuration: configuration, clock: clock, logger: logger, random: randomNumber, weight: weight,
      mover: messageMover(), handler: handler, onFailure: onFailure)
  }

  /// The same with a source of randomness, for simulations that repeat exactly.
  package init(
    name: String = "aggregator",
    configuration: AggregatorConfiguration = .init(),
    clock: any Clock<Duration> = ContinuousClock(),
    logger: Logger? = nil,
    random: @escaping @Sendable () -> UInt64,
    weight: (@Sendable (Message) -> Int)? = nil,
    handler: @escaping @Sendable (Batch<Message>) async throws -> Void,
    onFailure: (@Sendable (BatchFailure<Message>) async -> Void)? = nil
  ) throws(AggregatorError) {
    core = try Core(
      name: name, configuration: configuration, clock: clock, logger: logger, random: random, weight: weight,
      mover: messageMover(), handler: handler, onFailure: onFailure)
  }

  /// Sends a message; waits while there is no room.
  ///
  /// It returns when the message is accepted, not when it is handled. While there is room it does not suspend, and does not
  /// look at cancellation. Senders that wait are served first come, first served.
  ///
  /// - Throws: `CancellationError` when the task is cancelled while it waits; ``AggregatorError/closed`` after a shutdown,
  ///   to those that wait too; ``AggregatorError/tooHeavy``; with another policy than ``OverflowPolicy/suspend``,
  ///   ``AggregatorError/full``. The message was not accepted then.
  @inlinable
  public func send(_ message: Message) async throws {
    if core.appendOrKeepLock(message) { return }
    switch core.offerHoldingLock(message, waits: true) {
    case .accepted: return
    case .full: try await core.sendSlowly(message)
    case .closed: throw AggregatorError.closed
    case .tooHeavy: throw AggregatorError.tooHeavy
    }
  }

  /// Sends messages in order; waits while there is no room.
  ///
  /// Messages of other senders may come between them. This is faster than sending them one by one.
  ///
  /// - Throws: What ``send(_:)`` throws, ``AggregatorError/cancelled`` for a cancelled task. A prefix of the messages was
  ///   accepted then, as many as ``AggregatorError/acceptedCount`` says.
  @inlinable
  @inline(__always)
  public func send(contentsOf messages: some Sequence<Message>) async throws(AggregatorError) {
    try await core.send(contentsOf: messages)
  }

  /// Sends all of a sequence, in order, and returns when it ends.
  ///
  /// It takes the next element when the one before has been accepted, so that an aggregator that is full slows the sequence
  /// down. To make batches of a sequence without an aggregator: ``_Concurrency/AsyncSequence/batched(size:linger:clock:)``.
  ///
  /// - Parameter sequence: What to send.
  /// - Throws: What the sequence throws, after its elements before were accepted; what ``send(_:)`` throws.
  @inlinable
  public func consume<Source: AsyncSequence>(_ sequence: Source) async throws where Source.Element == Message {
    for try await message in sequence { try await send(message) }
  }

  /// Sends a message if there is room for it; never waits, and can be called from any thread.
  ///
  /// It does not overtake senders that wait: while there are some, it says ``TrySendResult/full``.
  @inlinable
  public func trySend(_ message: Message) -> TrySendResult {
    if core.appendOrKeepLock(message) { return .accepted }
    return core.offerHoldingLock(message, waits: false)
  }

  /// Makes the open batch due, and returns when all that was accepted before is settled, failures included.
  ///
  /// Messages that are sent later do not delay it. Before ``run()`` it waits; after the end it returns at once.
  ///
  /// - Throws: `CancellationError` when the task is cancelled while it waits. The batch stays due.
  public func flush() async throws {
    try await core.flush()
  }

  /// Begins the orderly end: takes no more messages, and settles what is held without waiting for `linger`.
  ///
  /// From now on every send throws ``AggregatorError/closed``, those that wait for room too. ``run()`` returns when all is
  /// settled, or past `drainTimeout`. It can be called at any time, from any thread, and more than once; before ``run()``,
  /// a later `run()` settles what is held and returns.
  public func shutdown() {
    core.shutdown()
  }

  /// Works until the aggregator is shut down, then drains, then returns.
  ///
  /// A graceful shutdown of the `ServiceGroup` that it is in is a ``shutdown()``. When its task is cancelled, that is a
  /// shutdown whose handlers are cancelled and not retried; batches that have not started go to `onFailure`.
  ///
  /// - Throws: `CancellationError` when its task was cancelled, after all is settled; ``AggregatorError/alreadyRun`` when it
  ///   was called before, which disturbs nothing.
  public func run() async throws {
    try await core.run(asService: true)
  }

  /// The configuration that is in force.
  public var configuration: AggregatorConfiguration { core.configuration }

  /// Changes `batchSize`, `linger`, `concurrency` and `capacity` while it runs.
  ///
  /// ```swift
  /// var configuration = aggregator.configuration
  /// configuration.linger = .milliseconds(50)
  /// try aggregator.reconfigure(configuration)
  /// ```
  ///
  /// Nothing is lost or reordered. The new values count at once, also for what is held: a batch that has not started and is larger
  /// than the new `batchSize` is cut; one that is older than the new `linger` is due, and a deadline that moves nearer is kept.
  /// With more slots, batches that wait start; with fewer, handler calls that run go on, and none starts until they are as few.
  /// With less capacity nothing is dropped: senders wait, or are refused, until less is held. It can be called at any
  /// time, from any thread.
  ///
  /// - Parameter configuration: What is wanted. Everything but those four must be as it was.
  /// - Throws: ``AggregatorError/invalidConfiguration(_:was:allowed:)`` for a value that makes no sense, or cannot be
  ///   changed. Nothing has changed then.
  public func reconfigure(_ configuration: AggregatorConfiguration) throws(AggregatorError) {
    try core.reconfigure(configuration)
  }

  /// The ledger at this instant.
  public var statistics: AggregatorStatistics {
    core.statistics()
  }
}

/// Where jitter comes from.
@usableFromInline
func randomNumber() -> UInt64 {
  var generator = SystemRandomNumberGenerator()
  return generator.next()
}
