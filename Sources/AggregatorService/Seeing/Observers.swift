import AggregatorStorage
import Batching

/// Brings what happens to messages to the meters and to the ledger.
struct Observers: PipelineObserver {
  let meters: Meters
  let ledger: Ledger

  func accepted(stream: StreamName, messages: Int) {
    meters.meter(for: stream).received(messages: messages)
  }

  func batchBegan(stream: StreamName, messages: Int, trigger: Trigger, attempt: Int, oldestReceivedAt: Int64) {
    meters.batchBegan(
      stream: stream, messages: messages, trigger: trigger, attempt: attempt, oldestReceivedAt: oldestReceivedAt)
  }

  func batchEnded(stream: StreamName, messages: Int, took: Duration, error: (any Error)?) {
    ledger.batchEnded(stream: stream, messages: messages, took: took, error: error)
    meters.batchEnded(stream: stream, messages: messages, took: took, error: error)
  }

  func buried(stream: StreamName, messages: Int) {
    ledger.buried(stream: stream, messages: messages)
    meters.buried(stream: stream, messages: messages)
  }
}
