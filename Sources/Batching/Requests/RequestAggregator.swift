public import Logging
public import ServiceLifecycle

/// Collects the requests of many callers, has them answered in one handler call, and gives each caller its own answer.
///
/// What is known as a data loader, as request collapsing, as dynamic batching in front of a model, and as group commit in
/// front of a disk.
///
/// ```swift
/// let users = try RequestAggregator<Int, User>(configuration: .init(batchSize: 100, linger: .milliseconds(2))) { ids in
///   try await database.users(ids.messages)
/// }
/// // In a task of each web request, while `users.run()` runs:
/// let user = try await users.send(42)
/// ```
///
/// It is an ``Aggregator`` of requests: batches become due, are retried and isolated by the same rules, and it works while
/// ``run()`` runs. What it adds:
///
/// - **An answer for each request.** The handler returns as many responses as the batch has requests, in their order. Any
///   other number fails the attempt with ``AggregatorError/wrongNumberOfAnswers(_:to:)``. A handler that has answers for some
///   and errors for others is for ``returningResults(name:configuration:clock:logger:weight:handler:)``.
/// - **Failures go to their callers.** A request that is given up fails with the error that says why: its own after a
///   partial failure or when `isolatesPoisonMessages` has found it.
/// - **Cancellation.** A caller that is cancelled before its batch has started takes its request out of it; a batch that
///   becomes empty by that vanishes with its deadline. After that it throws at once, and its answer is thrown away. The others
///   in the batch do not notice.
public final class RequestAggregator<Request: Sendable, Response: Sendable>: Service, Sendable {
  let core: Core<Call<Request, Response>>

  /// Makes an aggregator, which takes requests from now on and answers them once ``run()`` is called.
  ///
  /// - Parameters:
  ///   - name: The label of its metrics, logs and spans.
  ///   - configuration: Sizes, times and policies.
  ///   - clock: What `linger`, time-outs and back-offs are measured on.
  ///   - logger: Where it logs, at `info` and below, never the contents of a request. `nil` logs nothing.
  ///   - weight: What a request weighs, for `maximumBatchWeight` and `maximumHeldWeight`.
  ///   - handler: Answers a batch: one response for each request, in their order.
  /// - Throws: ``AggregatorError/invalidConfiguration(_:was:allowed:)`` for a value that makes no sense.
  public convenience init(
    name: String = "aggregator",
    configuration: AggregatorConfiguration = .init(),
    clock: any Clock<Duration> = ContinuousClock(),
    logger: Logger? = nil,
    weight: (@Sendable (Request) -> Int)? = nil,
    handler: @escaping @Sendable (Batch<Request>) async throws -> [Response]
  ) throws(AggregatorError) {
    try self.init(
      name: name, configuration: configuration, clock: clock, logger: logger, random: randomNumber, weight: weight,
      answering: Answering(handler))
  }

  /// Makes an aggregator whose handler has an answer or an error for each request.
  ///
  /// The requests with an error are retried as the ``RetryPolicy`` and their errors (``RetryAdvising``) say, the others are
  /// answered at once. When the time of the call was up before, results with an error in them count as a throw: the attempt has
  /// timed out for all.
  ///
  /// - Parameters:
  ///   - name: The label of its metrics, logs and spans.
  ///   - configuration: Sizes, times and policies.
  ///   - clock: What `linger`, time-outs and back-offs are measured on.
  ///   - logger: Where it logs.
  ///   - weight: What a request weighs.
  ///   - handler: Answers a batch: one result for each request, in their order.
  /// - Returns: The aggregator.
  /// - Throws: ``AggregatorError/invalidConfiguration(_:was:allowed:)`` for a value that makes no sense.
  public static func returningResults(
    name: String = "aggregator",
    configuration: AggregatorConfiguration = .init(),
    clock: any Clock<Duration> = ContinuousClock(),
    logger: Logger? = nil,
    weight: (@Sendable (Request) -> Int)? = nil,
    handler: @escaping @Sendable (Batch<Request>) async throws -> [Result<Response, any Error>]
  ) throws(AggregatorError) -> RequestAggregator {
    try RequestAggregator(
      name: name, configuration: configuration, clock: clock, logger: logger, random: randomNumber, weight: weight,
      answering: Answering(results: handler))
  }

  /// The one that makes it, also with a source of randomness, for simulations that repeat exactly.
  package init(
    name: String = "aggregator",
    configuration: AggregatorConfiguration = .init(),
    clock: any Clock<Duration> = ContinuousClock(),
    logger: Logger? = nil,
    random: @escaping @Sendable () -> UInt64,
    weight: (@Sendable (Request) -> Int)? = nil,
    answering: Answering<Request, Response>
  ) throws(AggregatorError) {
    var weigh: (@Sendable (Call<Request, Response>) -> Int)?
    if let weight { weigh = { weight($0.request) } }
    core = try Core(
      name: name, configuration: configuration, clock: clock, logger: logger, random: random, weight: weigh,
      mover: messageMover(), canBeWithdrawn: true,
      handler: { try await answering.answer($0) },
      onFailure: { failure in
        for item in failure.items { item.message.answer.prepare(.failure(item.error)) }
      },
      onSettled: { calls in
        for call in calls { call.answer.tell() }
      })
  }

  /// Sends a request and waits for its answer.
  ///
  /// - Returns: The handler's response to it.
  /// - Throws: What the handler threw for it when it was given up; `CancellationError` when the task is cancelled before the
  ///   answer is there, or `run()` is; ``AggregatorError/closed`` after a shutdown; ``AggregatorError/full``,
  ///   ``AggregatorError/dropped`` and ``AggregatorError/tooHeavy`` as configured.
  public func send(_ request: Request) async throws -> Response {
    let answer = Answer<Response>()
    let number = try await core.submit(Call(request: request, answer: answer))
    return try await withTaskCancellationHandler {
      try await answer.value()
    } onCancel: {
      core.withdraw(number)
      answer.tell(.failure(CancellationError()))
    }
  }

  /// Makes the open batch due, and returns when all requests that were accepted before are settled, failures included.
  ///
  /// - Throws: `CancellationError` when the task is cancelled while it waits. The batch stays due.
  public func flush() async throws {
    try await core.flush()
  }

  /// Begins the orderly end: takes no more requests, and answers what is held without waiting for `linger`.
  ///
  /// As ``Aggregator/shutdown()``.
  public func shutdown() {
    core.shutdown()
  }

  /// Works until the aggregator is shut down, then drains, then returns.
  ///
  /// As ``Aggregator/run()``; requests that it gives up fail with `CancellationError` when its task is cancelled.
  ///
  /// - Throws: `CancellationError` when its task was cancelled, after all is settled; ``AggregatorError/alreadyRun`` when it
  ///   was called before.
  public func run() async throws {
    try await core.run(asService: true)
  }

  /// The configuration that is in force.
  public var configuration: AggregatorConfiguration { core.configuration }

  /// Changes `batchSize`, `linger`, `concurrency` and `capacity` while it runs.
  ///
  /// As ``Aggregator/reconfigure(_:)``.
  ///
  /// - Parameter configuration: What is wanted. Everything but those four must be as it was.
  /// - Throws: ``AggregatorError/invalidConfiguration(_:was:allowed:)``, and nothing has changed then.
  public func reconfigure(_ configuration: AggregatorConfiguration) throws(AggregatorError) {
    try core.reconfigure(configuration)
  }

  /// The ledger at this instant.
  public var statistics: AggregatorStatistics {
    core.statistics()
  }
}

extension RequestAggregator where Request: Hashable {
  /// Makes an aggregator that asks the handler once for requests of a batch that are equal.
  ///
  /// All who sent one get the same response, or the same error. A batch is still full when it has `batchSize` callers, so the
  /// handler may get fewer requests than that; it gets each in the place of the first of its equals.
  ///
  /// - Parameters:
  ///   - name: The label of its metrics, logs and spans.
  ///   - configuration: Sizes, times and policies.
  ///   - clock: What `linger`, time-outs and back-offs are measured on.
  ///   - logger: Where it logs.
  ///   - weight: What a request weighs.
  ///   - deduplicating: Whether equal requests are sent once.
  ///   - handler: Answers a batch: one response for each request, in their order.
  /// - Throws: ``AggregatorError/invalidConfiguration(_:was:allowed:)`` for a value that makes no sense.
  public convenience init(
    name: String = "aggregator",
    configuration: AggregatorConfiguration = .init(),
    clock: any Clock<Duration> = ContinuousClock(),
    logger: Logger? = nil,
    weight: (@Sendable (Request) -> Int)? = nil,
    deduplicating: Bool,
    handler: @escaping @Sendable (Batch<Request>) async throws -> [Response]
  ) throws(AggregatorError) {
    let answering = Answering<Request, Response>(handler)
    try self.init(
      name: name, configuration: configuration, clock: clock, logger: logger, random: randomNumber, weight: weight,
      answering: deduplicating ? answering.deduplicated() : answering)
  }
}
