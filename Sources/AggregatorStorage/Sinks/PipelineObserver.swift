package import Batching

/// Watches batches on their way into a sink, for meters and for the page of the program.
///
/// It is called from many tasks, and must not wait. Each method does nothing by default.
package protocol PipelineObserver: Sendable {
  /// Messages were taken: from now on they are held.
  func accepted(stream: StreamName, messages: Int)

  /// A write begins.
  ///
  /// - Parameters:
  ///   - stream: The stream of the messages.
  ///   - messages: How many there are.
  ///   - trigger: What made the batch due; `.split` for a part of one that was refused.
  ///   - attempt: Which attempt it is, from 1.
  ///   - oldestReceivedAt: When the first was received, in microseconds since 1970-01-01 UTC.
  func batchBegan(stream: StreamName, messages: Int, trigger: Trigger, attempt: Int, oldestReceivedAt: Int64)

  /// A write has ended; without an error its messages are in the sink.
  func batchEnded(stream: StreamName, messages: Int, took: Duration, error: (any Error)?)

  /// Messages were refused for good and are with the dead letters.
  func buried(stream: StreamName, messages: Int)
}

extension PipelineObserver {
  package func accepted(stream: StreamName, messages: Int) {}
  package func batchBegan(
    stream: StreamName, messages: Int, trigger: Trigger, attempt: Int, oldestReceivedAt: Int64
  ) {}
  package func batchEnded(stream: StreamName, messages: Int, took: Duration, error: (any Error)?) {}
  package func buried(stream: StreamName, messages: Int) {}
}

/// Watches nothing.
package struct NoObserver: PipelineObserver {
  /// Makes one.
  package init() {}
}
