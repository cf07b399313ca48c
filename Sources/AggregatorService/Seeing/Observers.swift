import AggregatorStorage
import Batching
import Foundation

/// Brings what happens to batches to the meters and to the ledger.
struct Observers: PipelineObserver {
  let meters: Meters
  let ledger: Ledger

  func accepted(stream: StreamName, messages: Int) {
    meters.meter(for: stream).received(messages: messages)
  }

  func batchBegan(stream: StreamName, messages: Int, trigger: Trigger, attempt: Int, oldestReceivedAt: Int64) {
    let waited = Int64(Date().timeIntervalSince1970 * 1_000_000) - oldestReceivedAt
    meters.meter(for: stream).batchBegan(
      messages: messages, trigger: trigger, attempt: attempt, waited: .microseconds(max(waited, 0)))
  }

  func batchEnded(stream: StreamName, messages: Int, took: Duration, error: (any Error)?) {
    ledger.batchEnded(stream: stream, messages: messages, took: took, error: error)
    let outcome: StreamMeter.Outcome
    switch error {
    case nil: outcome = .stored
    case let error as any RetryAdvising where !error.isRetryable: outcome = .refused(reason: "\(error)")
    case let error?: outcome = .failed(reason: "\(error)")
    }
    meters.meter(for: stream).batchEnded(messages: messages, took: took, outcome: outcome)
  }

  func buried(stream: StreamName, messages: Int) {
    ledger.buried(stream: stream, messages: messages)
    meters.meter(for: stream).refused(messages: messages)
  }
}
