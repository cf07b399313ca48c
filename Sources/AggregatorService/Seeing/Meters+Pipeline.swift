package import AggregatorStorage
package import Batching

/// What somebody who stores batches of all streams tells, in the words of those who do.
extension Meters {
  /// A handler call begins.
  ///
  /// - Parameters:
  ///   - stream: the stream of the messages.
  ///   - messages: how many it has.
  ///   - trigger: what first made its batch due; `.split` for a part of one that was refused.
  ///   - attempt: from 1; the call is a retry when it is more.
  ///   - oldestReceivedAt: when its first message was received, in microseconds since 1970-01-01 UTC.
  package func batchBegan(
    stream: StreamName, messages: Int, trigger: Trigger, attempt: Int, oldestReceivedAt: Int64
  ) {
    let now = clock.beginning + clock.now().seconds
    let waited = Duration.seconds(max(now - Double(oldestReceivedAt) / 1e6, 0))
    meter(for: stream).batchBegan(messages: messages, trigger: trigger, attempt: attempt, waited: waited)
  }

  /// A handler call has ended; without an error its messages are stored.
  package func batchEnded(stream: StreamName, messages: Int, took: Duration, error: (any Error)?) {
    let outcome = StreamMeter.Outcome(of: error, messages: messages)
    meter(for: stream).batchEnded(messages: messages, took: took, outcome: outcome)
  }

  /// Messages were refused for good.
  package func buried(stream: StreamName, messages: Int) {
    meter(for: stream).refused(messages: messages)
  }
}

extension StreamMeter.Outcome {
  /// What a handler call's error means; an error that does not say otherwise may pass.
  ///
  /// Of errors that are not our own only the type is shown: a driver's might quote a message.
  package init(of error: (any Error)?, messages: Int) {
    switch error {
    case nil: self = .stored
    case let error as PartialBatchFailure:
      let first = error.failures.min { $0.key < $1.key }?.value
      self = .partly(stored: messages - error.failures.count, reason: first.map(Self.reason) ?? "a part was not stored")
    case let error?:
      let isRefusal = (error as? any RetryAdvising)?.isRetryable == false
      self = isRefusal ? .refused(reason: Self.reason(error)) : .failed(reason: Self.reason(error))
    }
  }

  private static func reason(_ error: any Error) -> String {
    switch error {
    case is SinkError, is ProgramError, is AggregatorError: "\(error)"
    case is CancellationError: "it was cancelled"
    default: "\(type(of: error))"
    }
  }
}
