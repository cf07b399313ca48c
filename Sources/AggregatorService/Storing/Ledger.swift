import AggregatorStorage
import Synchronization

/// What has been stored, for the summary at the end.
final class Ledger: PipelineObserver {
  struct Numbers: Sendable, Equatable {
    var messages = 0
    var batches = 0
    /// Messages that could not be stored; their senders were told, or they are dead letters.
    var failed = 0

    /// The one line at the end.
    func summary(batchSize: Int) -> String {
      let fill = batches == 0 ? 0 : Double(messages) / Double(batches)
      let tenths = Int((fill * 10).rounded())
      return "stored \(messages) \(messages == 1 ? "message" : "messages") in \(batches) "
        + "\(batches == 1 ? "batch" : "batches") (mean \(tenths / 10).\(tenths % 10) of \(batchSize)), \(failed) failed"
    }
  }

  private let numbers = Mutex(Numbers())

  func batchEnded(stream: StreamName, messages: Int, took: Duration, error: (any Error)?) {
    guard error == nil else { return }
    numbers.withLock {
      $0.messages += messages
      $0.batches += 1
    }
  }

  func buried(stream: StreamName, messages: Int) {
    numbers.withLock { $0.failed += messages }
  }

  var current: Numbers { numbers.withLock { $0 } }
}
