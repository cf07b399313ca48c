import Logging

/// What an aggregator logs: numbers and types, never the contents of a message.
///
/// At `info` stands what the program has lost or will miss, at `debug` what mends itself: only the program knows how bad
/// it is. Nothing is computed for a line that is not wanted.
struct Reporter: Sendable {
  private let logger: Logger?

  init(name: String, logger: Logger?) {
    var logger = logger
    logger?[metadataKey: "batching.aggregator"] = "\(name)"
    self.logger = logger
  }

  // MARK: Batches

  /// A list of messages will be tried again, or a half of one alone.
  ///
  /// `attempt` is the one that failed.
  func willRetry(
    messages: Int, attempt: Int, sequenceNumber: Int, isHalf: Bool, error: (any Error)?, after backOff: Duration
  ) {
    logger?.debug(
      isHalf ? "batch failed, this half of it is tried alone" : "batch failed, it is tried again",
      metadata: [
        "batching.batch.sequence_number": "\(sequenceNumber)", "batching.batch.size": "\(messages)",
        "batching.batch.attempt": "\(attempt)", "batching.back_off": "\(backOff)",
        "error.type": "\(error.map(typeName) ?? "")",
      ])
  }

  /// A batch was given up.
  ///
  /// Of the error only the type is shown, here as everywhere: what it says is up to the handler, and may well be a
  /// message's contents.
  func failed(messages: Int, attempts: Int, sequenceNumber: Int, error: any Error, isSaved: Bool) {
    logger?.info(
      isSaved ? "batch failed" : "batch failed, and there is no onFailure to save it",
      metadata: [
        "batching.batch.sequence_number": "\(sequenceNumber)", "batching.batch.size": "\(messages)",
        "batching.batch.attempt": "\(attempts)", "error.type": "\(typeName(of: error))",
      ])
  }

  func timedOut(messages: Int, attempt: Int, sequenceNumber: Int) {
    logger?.info(
      "handler timed out and was cancelled; its slot stays occupied until it returns",
      metadata: [
        "batching.batch.sequence_number": "\(sequenceNumber)", "batching.batch.size": "\(messages)",
        "batching.batch.attempt": "\(attempt)",
      ])
  }

  /// Pushed-out messages were let go.
  ///
  /// Under overload that happens all the time: a line is logged when their number has doubled.
  func dropped(_ count: Int, total: Int) {
    guard total.leadingZeroBitCount != (total - count).leadingZeroBitCount else { return }
    logger?.info(
      "messages dropped, the aggregator is full", metadata: ["batching.message.dropped": "\(total)"])
  }

  // MARK: Life

  func runBegan() {
    logger?.debug("aggregator runs")
  }

  func runEnded(_ totals: @autoclosure () -> Totals) {
    guard let logger, logger.logLevel <= .debug else { return }
    let totals = totals()
    logger.debug(
      "aggregator has ended",
      metadata: [
        "batching.message.accepted": "\(totals.accepted)", "batching.message.handled": "\(totals.handled)",
        "batching.message.failed": "\(totals.failed)", "batching.message.dropped": "\(totals.dropped)",
      ])
  }

  func drainTimedOut(held: Int, inFlight: Int) {
    logger?.info(
      "drain timed out, handlers are cancelled and the rest is given up",
      metadata: ["batching.message.held": "\(held)", "batching.message.in_flight": "\(inFlight)"])
  }

  func thrownAway(held: Int) {
    logger?.info(
      "aggregator thrown away without having been run, its messages are lost",
      metadata: ["batching.message.held": "\(held)"])
  }
}

/// What an error is, without what it says: few values, which a backend can group by.
func typeName(of error: any Error) -> String {
  if let error = error as? AggregatorError { return "AggregatorError.\(error.code)" }
  return "\(type(of: error))"
}
