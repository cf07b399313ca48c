package import AggregatorStorage
import CNATS
import Dispatch
package import Logging
import Synchronization

/// A member of those who share the messages of a stream of JetStream: a durable pull consumer with explicit acknowledgements.
///
/// - **Stream.** The last token of a message's subject, where it is the name of a stream; else the one of `default`.
/// - **Identity.** The header `Aggregator-Identity`, which ``JetStreamSink`` sends of messages that have one; else `nats/`, the stream of
///   JetStream, when that was made, and the message's place in it. A stream that is deleted and made again begins its numbers
///   again, so without the time new messages would pass for old ones.
/// - **Order.** Messages of a subject come in their order to *one* member. JetStream deals them out one by one: where several
///   members share a durable consumer, those of one subject are stored at several places at once. Where order matters, give each
///   group of subjects a durable consumer of its own (`subject=`), with one member. What is delivered again, after a crash or a
///   lost acknowledgement, comes after what came meanwhile; with `ordered=true` it comes first (see `JetStreamConsumer+Order`).
/// - **Time.** The server delivers again what is not acknowledged within `ack_wait`. Messages that are held longer, such as in an
///   outage of the sink, are reported as being worked on at a third of it, so it bounds how long the messages of a member
///   that was killed are waited for, and not how long a batch may take.
/// - **Unfit.** A payload that is no UTF-8 cannot be stored as JSON: it is terminated, which the server remembers, and told with its
///   place in the stream, where it stays as long as the stream keeps it.
package final class JetStreamConsumer: LogConsumer {
  struct State {
    var connection: NATSConnection?
    var subscription: PullSubscription?
    var timer: (any DispatchSourceTimer)?
    var held = HeldMessages()
    var isStopped = false
    var isFailing = false
    var isAsking = false
    var missingSince: ContinuousClock.Instant?
    /// Messages that are not delivered to anybody; `nil` when that is not known yet.
    var pending: Int?
    /// Messages that other members hold, as far as is known.
    var othersHold = 0
    var averageSize = 0
    /// One who waits until nothing is held.
    var waiter: CheckedContinuation<Void, Never>?
    /// Since when somebody has messages that are not acknowledged, and it is not this member.
    var unsettledSince: ContinuousClock.Instant?

    /// The server has said how its consumer stands.
    mutating func look(at found: ConsumerPlan.Found) {
      pending = found.pending
      othersHold = max(found.unacknowledged - held.count, 0)
    }
  }

  /// The most bytes that are asked for at once, by what messages had of late.
  private static let fetchedBytes = 8 << 20

  let plan: ConsumerPlan
  let address: NATSAddress
  let logger: Logger
  private let isOrdered: Bool
  private let fallback: StreamName
  /// Fetching waits, and must not hold up acknowledgements; what asks JetStream may wait, too.
  let fetching = BlockingQueue(label: "aggregator.nats.fetching")
  let telling = BlockingQueue(label: "aggregator.nats.telling")
  let asking = BlockingQueue(label: "aggregator.nats.asking")
  let state = Mutex(State())

  /// Makes a member; it connects when it is first asked for messages.
  ///
  /// - Parameters:
  ///   - address: Where, with the parameters `stream` (or as the path), `durable`, `subject` (all), `default` (`messages`), and for a
  ///     consumer that is not there yet, `ordered` (false), and `ack_wait` (30s) and `max_ack_pending` (65,536, of all members together: it has to be
  ///     larger than what they hold, or they wait for each other).
  ///   - logger: Where outages are told.
  /// - Throws: ``ProgramError`` for a name or parameter that makes no sense.
  package init(_ address: NATSAddress, logger: Logger) throws(ProgramError) {
    self.address = address
    self.logger = logger
    var parameters = Parameters(address)
    guard let stream = parameters.text("stream") ?? address.resource, let durable = parameters.text("durable") else {
      throw ProgramError(
        "\(address) names no stream or no durable consumer: give nats://HOST?stream=STREAM&durable=NAME")
    }
    try NATSAddress.checkName(stream, "stream of JetStream")
    try NATSAddress.checkName(durable, "durable consumer")
    let filter = parameters.text("subject")
    fallback = try parameters.text("default").map { name throws(ProgramError) in try StreamName(name) } ?? .messages
    let ackWait = try parameters.duration("ack_wait", in: .seconds(1)...(.seconds(3_600))) ?? .seconds(30)
    let unacknowledged = try parameters.number("max_ack_pending", in: 1...10_000_000) ?? 65_536
    isOrdered = try parameters.flag("ordered") ?? false
    try parameters.finish()
    plan = ConsumerPlan(
      stream: stream, durable: durable, filter: filter, ackWait: Int64(ackWait / .nanoseconds(1)),
      maximumUnacknowledged: unacknowledged)
  }

  // MARK: Taking

  package func next(atMost limit: Int) async throws -> [LogMessage] {
    var backOff = Duration.milliseconds(50)
    while true {
      try Task.checkCancellation()
      if isStopped { return [] }
      do {
        let messages = try await isOrdered ? fetchInOrder(atMost: limit) : fetch(atMost: limit)
        works()
        backOff = .milliseconds(50)
        if isStopped {
          await giveBack(messages)
          return []
        }
        if !messages.isEmpty { return messages }
      } catch let error as NATSError {
        failed(error)
        try await Task.sleep(for: backOff)
        backOff = min(backOff * 2, .seconds(1))
      }
    }
  }

  var isStopped: Bool { state.withLock { $0.isStopped } }

  private func fetch(atMost limit: Int) async throws -> [LogMessage] {
    try await fetch(atMost: limit) { subscription, most in try subscription.fetch(atMost: most, within: 1_000) } ?? []
  }

  /// Asks in whatever way `ask` does, given how many there may be; `nil` when that has no answer yet.
  func fetch(
    atMost limit: Int, _ ask: @escaping @Sendable (PullSubscription, Int) throws -> [Delivery]?
  ) async throws -> [LogMessage]? {
    let (deliveries, stream) = try await fetching.run { [self] () -> ([Delivery]?, String) in
      let subscription = try subscription()
      // While there is no connection requests would pile up, to be answered all at once.
      guard subscription.connection.isConnected else {
        throw NATSError("reaching \(address)", NATS_CONNECTION_DISCONNECTED)
      }
      let most = state.withLock { max(1, min(limit, Self.fetchedBytes / max($0.averageSize, 1))) }
      do {
        let deliveries = try ask(subscription, most)
        // A server does not always say of a consumer that is gone that it is.
        if deliveries?.isEmpty != false, state.withLock({ $0.missingSince != nil }) {
          try checkStillThere(subscription)
        }
        return (deliveries, "nats/\(plan.stream)/\(subscription.streamCreatedAt)")
      } catch {
        try checkStillThere(subscription)
        throw error
      }
    }
    return deliveries.map { take($0, identities: stream) }
  }

  /// One that was there and is not any more was deleted: made again, it would begin at the beginning.
  ///
  /// Servers that have just come back may say for a moment that it is not there.
  private func checkStillThere(_ subscription: PullSubscription) throws {
    let found: ConsumerPlan.Found?
    do {
      found = try plan.find(subscription.connection)
    } catch is NATSError {
      return
    }
    let missingSince = state.withLock { state in
      state.missingSince = found == nil ? state.missingSince ?? .now : nil
      return state.missingSince
    }
    guard let missingSince, .now - missingSince > .seconds(3) else { return }
    throw ProgramError(
      "\(address): the durable consumer '\(plan.durable)' or the stream '\(plan.stream)' was deleted; see to it, and start "
        + "again: a new consumer begins with the first message")
  }

  private func take(_ deliveries: [Delivery], identities: String) -> [LogMessage] {
    guard let last = deliveries.last else { return [] }
    let now = ContinuousClock.now
    var unfit: [Delivery] = []
    let messages = state.withLock { state in
      state.averageSize = deliveries.reduce(0) { $0 + $1.size } / deliveries.count
      state.pending = Int(clamping: last.pending)
      return deliveries.compactMap { delivery -> LogMessage? in
        guard let body = delivery.body else {
          unfit.append(delivery)
          return nil
        }
        let isNew = state.held.take(
          sequence: delivery.sequence, reply: delivery.reply, deliveries: delivery.deliveries, now: now)
        return isNew ? message(delivery, body, identities: identities) : nil
      }
    }
    if !unfit.isEmpty { terminate(unfit) }
    return messages
  }

  private func message(_ delivery: Delivery, _ body: String, identities: String) -> LogMessage {
    let token = delivery.subject.split(separator: ".").last ?? ""
    let sequence = Int64(bitPattern: delivery.sequence)
    return LogMessage(
      partition: LogPartition(delivery.subject), position: sequence, stream: (try? StreamName(token)) ?? fallback,
      message: Message(
        body: body, receivedAt: delivery.receivedAt.flatMap { Int64($0) } ?? delivery.storedAt / 1_000,
        identity: delivery.identity.flatMap(HeaderValue.decoded) ?? "\(identities)/\(sequence)"),
      redeliveries: Int(clamping: delivery.deliveries) - 1, ticket: sequence)
  }

  private func terminate(_ unfit: [Delivery]) {
    logger.error(
      "messages are no text in UTF-8 and cannot be stored: they are passed over, and are only in the stream",
      metadata: [
        "stream": "\(plan.stream)", "messages": "\(unfit.count)", "sequences": "\(unfit.prefix(20).map(\.sequence))",
      ])
    telling.queue.async { [self] in tell("+TERM", unfit.map(\.reply)) }
  }

  /// An outage is told when it begins and when it is over.
  private func works() {
    let worksAgain = state.withLock { state in
      defer { state.isFailing = false }
      return state.isFailing
    }
    if worksAgain { logger.notice("taking messages works again", metadata: ["address": "\(address)"]) }
  }

  private func failed(_ error: NATSError) {
    let isNew = state.withLock { state in
      defer { state.isFailing = true }
      return !state.isFailing
    }
    if isNew {
      logger.error(
        "taking messages failed, to be tried again until it works",
        metadata: ["address": "\(address)", "error": "\(error)"])
    }
  }

  // MARK: Settling

  package func owns(_ message: LogMessage) -> Bool {
    state.withLock { $0.held.contains(UInt64(bitPattern: message.ticket)) }
  }

  package func acknowledge(_ messages: [LogMessage]) async {
    let replies = state.withLock { $0.held.release(messages) }
    await telling.run { [self] in tell("+ACK", replies) }
    wakeIfSettled()
  }

  package func giveBack(_ messages: [LogMessage]) async {
    let replies = state.withLock { $0.held.release(messages) }
    await telling.run { [self] in tell("-NAK", replies) }
    wakeIfSettled()
  }

  /// What is not told, the server finds out by `ack_wait`.
  func tell(_ word: StaticString, _ replies: [String]) {
    guard !replies.isEmpty, let connection = state.withLock({ $0.connection }) else { return }
    do {
      for reply in replies { try connection.publish(word, to: reply) }
    } catch {
      logger.warning(
        "acknowledging failed; messages will be delivered again",
        metadata: ["address": "\(address)", "error": "\(error)"])
    }
  }

  // MARK: The end

  package func stop() {
    state.withLock { $0.isStopped = true }
    wakeIfSettled()
  }

  package func close() async {
    stop()
    let timer = state.withLock { $0.timer.take() }
    timer?.cancel()
    // What is under way ends first.
    await fetching.run {}
    await asking.run {}
    await telling.run { [self] in
      let replies = state.withLock { $0.held.releaseAll() }
      tell("-NAK", replies)
      let connection = state.withLock { state in
        state.subscription = nil
        return state.connection.take()
      }
      if connection?.isConnected == true { try? connection?.flush(within: 2_000) }
      connection?.close()
    }
  }

  package var lag: LogLag {
    state.withLock { state in
      var lag = LogLag()
      lag.isShared = true
      lag.redelivered = state.held.redelivered
      guard let subscription = state.subscription else { return lag }
      let name = plan.name(subjects: subscription.subjects)
      lag.assigned = [name]
      // What was known before an outage is not known any more.
      guard !state.isFailing, let pending = state.pending else { return lag }
      let behind = pending + state.othersHold + state.held.count
      lag.messages = behind
      lag.behind = [name: behind]
      return lag
    }
  }
}
