import AggregatorStorage
import CNATS
import Logging
import Synchronization

/// `ordered=true`: messages of a subject are stored in their order whatever fails, by the one member that the consumer has.
///
/// JetStream delivers again what was not acknowledged, but only after `ack_wait`, and after what it has delivered meanwhile. So
/// nothing is asked for while a message is delivered and not acknowledged, whoever has it:
///
/// - A block is asked for when all before is acknowledged. Its deliveries are numbered without a gap; from the first gap on, which a
///   connection that broke may leave, they are given back.
/// - Where messages are not acknowledged that this member does not hold (the one before it has died, or they were lost on their
///   way), it waits until the server would deliver them again, takes exactly these, and hands them out in their order.
///
/// That costs a question for each block, and `ack_wait` after each failure. A second member waits for as long as the first holds
/// messages, but nothing keeps it from taking the next ones: there has to be one.
extension JetStreamConsumer {
  /// Waits until nothing is held, and asks for the next block.
  func fetchInOrder(atMost limit: Int) async throws -> [LogMessage] {
    await settled()
    var pause = Duration.milliseconds(1)
    while !isStopped {
      if let messages = try await fetch(atMost: limit, { try self.block(of: $0, atMost: $1) }) { return messages }
      try await Task.sleep(for: pause)
      pause = min(pause * 2, .milliseconds(250))
    }
    return []
  }

  /// Waits until nothing is held, or the end has come.
  private func settled() async {
    await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        let isOver = state.withLock { state in
          if state.held.count == 0 || state.isStopped || Task.isCancelled { return true }
          state.waiter = continuation
          return false
        }
        if isOver { continuation.resume() }
      }
    } onCancel: {
      state.withLock { $0.waiter.take() }?.resume()
    }
  }

  func wakeIfSettled() {
    state.withLock { $0.held.count == 0 || $0.isStopped ? $0.waiter.take() : nil }?.resume()
  }

  /// Returns `nil` when it has to be waited for what others have not acknowledged, or have and the server has not seen it yet.
  private func block(of subscription: PullSubscription, atMost limit: Int) throws -> [Delivery]? {
    // What was acknowledged is there before the question is.
    try subscription.connection.flush(within: 2_000)
    guard let found = try plan.find(subscription.connection) else {
      throw NATSError("fetching from '\(plan.durable)' of '\(plan.stream)'", NATS_NOT_FOUND)
    }
    guard found.unacknowledged > 0 else {
      state.withLock { $0.unsettledSince = nil }
      let deliveries = try subscription.fetch(atMost: limit, within: 1_000)
      let inOrder = zip(deliveries, (found.deliveries + 1)...).prefix { $0.number == $1 }.count
      tell("-NAK", deliveries[inOrder...].map(\.reply))
      return Array(deliveries[..<inOrder])
    }
    let since = state.withLock { state in
      let since = state.unsettledSince ?? .now
      state.unsettledSince = since
      return since
    }
    // The server looks for what is overdue now and then.
    guard .now - since > .nanoseconds(found.ackWait) + .seconds(1) else { return nil }
    return try unacknowledged(found.unacknowledged, of: subscription)
  }

  /// Takes what was delivered before and not acknowledged; all of it, or nothing for now.
  private func unacknowledged(_ count: Int, of subscription: PullSubscription) throws -> [Delivery]? {
    var deliveries: [Delivery] = []
    while deliveries.count < count {
      let more = try subscription.fetch(atMost: count - deliveries.count, within: 1_000)
      if more.isEmpty { break }
      deliveries += more
    }
    guard Self.isWhole(deliveries.map { ($0.sequence, $0.deliveries) }, count: count) else {
      tell("-NAK", deliveries.map(\.reply))
      return nil
    }
    logger.info(
      "messages that were not acknowledged are taken again, in their order",
      metadata: ["durable": "\(plan.durable)", "messages": "\(count)"])
    state.withLock { $0.unsettledSince = nil }
    return deliveries.sorted { $0.sequence < $1.sequence }
  }

  /// Whether these are `count` messages, each of which has been delivered before.
  ///
  /// Some may be answers to an earlier question that come late: one that is there twice stands for another that is missing.
  static func isWhole(_ delivered: [(sequence: UInt64, times: UInt64)], count: Int) -> Bool {
    delivered.count == count && Set(delivered.map(\.sequence)).count == count && delivered.allSatisfy { $0.times > 1 }
  }
}
