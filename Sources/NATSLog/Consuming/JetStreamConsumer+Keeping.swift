import AggregatorStorage
import CNATS
import Dispatch
import Logging
import Synchronization

extension JetStreamConsumer {
  /// The subscription, made when there is none; on the queue of fetching.
  func subscription() throws -> PullSubscription {
    let (known, connected) = state.withLock { ($0.subscription, $0.connection) }
    if let known, !known.connection.isClosed { return known }
    let usable = connected.flatMap { $0.isClosed ? nil : $0 }
    let connection = try usable ?? NATSConnection(address, name: "aggregator \(plan.durable)", logger: logger)
    state.withLock { $0.connection = connection }
    let subscription = try PullSubscription(plan, connection)
    let timer = state.withLock { state in
      state.subscription = subscription
      state.look(at: subscription.found)
      return state.timer == nil ? makeTimer(subscription, &state) : nil
    }
    timer?.activate()
    return subscription
  }

  private func makeTimer(_ subscription: PullSubscription, _ state: inout State) -> any DispatchSourceTimer {
    let third = Int(subscription.ackWait / 3)
    let interval = min(third, 5_000_000_000)
    let timer = DispatchSource.makeTimerSource(queue: telling.queue)
    timer.schedule(deadline: .now() + .nanoseconds(interval), repeating: .nanoseconds(interval))
    timer.setEventHandler { [weak self] in self?.keep(.nanoseconds(third)) }
    state.timer = timer
    return timer
  }

  /// Says that messages are being worked on, and asks how far the consumer is behind.
  private func keep(_ third: Duration) {
    let now = ContinuousClock.now
    let (replies, shouldAsk) = state.withLock { state in
      // What would be silent for a third at the next time is told now: two thirds are left for what may be slow.
      let replies = state.held.silent(since: now - third / 2, now: now)
      let shouldAsk = !state.isAsking
      state.isAsking = true
      return (replies, shouldAsk)
    }
    tell("+WPI", replies)
    if shouldAsk { asking.queue.async { [weak self] in self?.ask() } }
  }

  private func ask() {
    defer { state.withLock { $0.isAsking = false } }
    guard let connection = state.withLock({ $0.connection }), connection.isConnected else { return }
    do {
      let found = try plan.find(connection)
      state.withLock { state in
        if let found { state.look(at: found) }
        state.missingSince = found == nil ? state.missingSince ?? .now : nil
      }
    } catch {
      // Who fetches finds out what it is, and tells.
      logger.debug("the state of the consumer is not known", metadata: ["error": "\(error)"])
    }
  }
}
