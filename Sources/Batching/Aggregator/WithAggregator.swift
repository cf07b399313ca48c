public import Logging

/// Runs an aggregator for as long as `body` takes.
///
/// All that `body` sent is settled when it returns. A graceful shutdown of a surrounding service group is left to `body`,
/// which knows when it has sent its last message.
///
/// ```swift
/// try await withAggregator(of: Event.self, configuration: .init(batchSize: 100)) { batch in
///   try await database.insert(batch)
/// } body: { aggregator in
///   for try await event in events { try await aggregator.send(event) }
/// }
/// ```
///
/// - Parameters:
///   - of: The type of the messages.
///   - name: The label of its metrics, logs and spans.
///   - configuration: Sizes, times and policies.
///   - clock: What `linger`, time-outs and back-offs are measured on.
///   - logger: Where it logs.
///   - weight: What a message weighs.
///   - handler: Handles a batch.
///   - onFailure: Gets messages that are given up.
///   - body: Sends messages to the aggregator, which is shut down when it returns.
/// - Returns: What `body` returned.
/// - Throws: What `body` throws, after the drain; `CancellationError` when the task is cancelled, after handlers have been
///   cancelled and the rest given to `onFailure`; ``AggregatorError/invalidConfiguration(_:was:allowed:)``.
@inlinable
public func withAggregator<Message: Sendable, Output>(
  of: Message.Type = Message.self,
  name: String = "aggregator",
  configuration: AggregatorConfiguration = .init(),
  clock: any Clock<Duration> = ContinuousClock(),
  logger: Logger? = nil,
  weight: (@Sendable (Message) -> Int)? = nil,
  handler: @escaping @Sendable (Batch<Message>) async throws -> Void,
  onFailure: (@Sendable (BatchFailure<Message>) async -> Void)? = nil,
  body: (Aggregator<Message>) async throws -> Output
) async throws -> Output {
  let aggregator = try Aggregator<Message>(
    name: name, configuration: configuration, clock: clock, logger: logger, weight: weight, handler: handler,
    onFailure: onFailure)
  return try await withRunning(aggregator, body: body)
}

/// Runs an aggregator while `body` runs, then shuts it down and waits until all is settled.
@usableFromInline
package func withRunning<Message: Sendable, Output>(
  _ aggregator: Aggregator<Message>, body: (Aggregator<Message>) async throws -> Output
) async throws -> Output {
  async let running: Void = aggregator.core.run(asService: false)
  let output: Output
  do {
    output = try await body(aggregator)
  } catch {
    aggregator.shutdown()
    try? await running
    throw error
  }
  aggregator.shutdown()
  try await running
  return output
}
