import AggregatorStorage
import Batching
import Logging
import Synchronization

/// Says in the log when storing begins to fail and when it works again, and not at each batch between.
final class Outage: Sendable {
  private let isFailing = Atomic(false)
  private let logger: Logger

  init(logger: Logger) {
    self.logger = logger
  }

  func failed(stream: StreamName, requests: Int, error: any Error) {
    let isRefusal = (error as? any RetryAdvising)?.isRetryable == false
    if isRefusal || !isFailing.exchange(true, ordering: .relaxed) {
      logger.error(
        "storing failed",
        metadata: ["stream": "\(stream)", "requests": "\(requests)", "error": "\(error)"])
    }
  }

  func ended() {
    // Looked at first, because it is called for each batch.
    if isFailing.load(ordering: .relaxed), isFailing.exchange(false, ordering: .relaxed) {
      logger.warning("storing works again")
    }
  }
}
