import Logging

/// What an aggregator logs: numbers and types, never the contents of a message, and at `info` or below, because only the
/// program knows how bad it is.
struct Reporter: Sendable {
  let name: String
  let logger: Logger?

  private func log(_ message: Logger.Message, _ metadata: [String: Logger.MetadataValue]) {
    guard let logger else { return }
    var metadata = metadata
    metadata["batching.aggregator"] = "\(name)"
    logger.info(message, metadata: metadata)
  }

  /// A batch was given up.
  ///
  /// The error itself is only shown where nobody else gets it: what it says is up to the handler.
  func failed(messages: Int, attempts: Int, sequenceNumber: Int, error: any Error, isSaved: Bool) {
    log(
      isSaved ? "batch failed" : "batch failed, and there is no onFailure to save it",
      [
        "batching.batch": "\(sequenceNumber)", "batching.messages": "\(messages)", "batching.attempts": "\(attempts)",
        "batching.error": isSaved ? "\(type(of: error))" : "\(error)",
      ])
  }

  /// Pushed-out messages were let go.
  ///
  /// Under overload that happens all the time: a line is logged when their number has doubled.
  func dropped(_ count: Int, total: Int) {
    guard total.leadingZeroBitCount != (total - count).leadingZeroBitCount else { return }
    log("messages dropped, the aggregator is full", ["batching.dropped": "\(total)"])
  }

  func timedOut(messages: Int, attempt: Int, sequenceNumber: Int) {
    log(
      "handler timed out and was cancelled; its slot stays occupied until it returns",
      [
        "batching.batch": "\(sequenceNumber)", "batching.messages": "\(messages)", "batching.attempts": "\(attempt)",
      ])
  }

  func thrownAway(held: Int) {
    log("aggregator thrown away without having been run, its messages are lost", ["batching.held": "\(held)"])
  }
}
