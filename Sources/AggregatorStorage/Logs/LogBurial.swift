/// A message of a log that a sink refuses for good, on its way to the dead letters.
package struct LogBurial: Sendable {
  /// The message, and where it is in the log.
  package let message: LogMessage
  /// Why it was refused.
  package let error: any Error
  /// How often it was given to the sink.
  package let attempts: Int

  /// Keeps messages as dead letters; they are durable when it returns.
  ///
  /// An error that says that it is retryable is waited for; another one stops the pipeline.
  package typealias Keep = @Sendable ([LogBurial]) async throws -> Void
}
