package import AggregatorStorage
import CNATS
package import Logging
import Synchronization

/// Publishes messages to a stream of JetStream, and is content when the stream has acknowledged each.
///
/// A message of the stream `orders` has the subject `NAME.orders`, where `NAME` is the name of the stream of JetStream, its JSON as
/// payload, and as headers `Nats-Msg-Id`, `Aggregator-Received-At` (microseconds) and, where it has one, `Aggregator-Identity`. The stream
/// is made when it is missing, with the subjects `NAME.>` and file storage.
///
/// **Repeats.** `Nats-Msg-Id` is made of stream and identity, so whoever sends a message again within the stream's window
/// (`duplicates`) has it stored once. A message without identity gets one for the length of one ``write(_:to:)``, which itself
/// repeats what was not acknowledged for up to 20 seconds; when that throws and its caller writes the message again, it may be
/// stored twice.
///
/// **Order.** Messages of a stream are stored in their order as long as nothing fails. What was not acknowledged is published
/// again, and is then behind what came after it in the same window. `window=1` waits for each acknowledgement before the next message
/// and keeps the order then too, at the price of a round trip a message.
///
/// **Durable** means replicated: NATS 2.9 acknowledges once a majority of the replicas has a message, and brings it to the disk
/// later. With one replica, a power failure loses what was acknowledged in the last moments.
package final class JetStreamSink: Sink {
  private struct Session {
    let connection: NATSConnection
    /// The most bytes of a message with its headers.
    let maximumSize: Int
  }

  private struct State {
    var session: Session?
    var isClosed = false
  }

  private let address: NATSAddress
  private let plan: StreamPlan
  private let window: Int
  private let ackTimeout: Duration
  private let logger: Logger
  private let queue = BlockingQueue(label: "aggregator.nats.publishing")
  private let state = Mutex(State())
  private let nonce = String(UInt64.random(in: 0...UInt64.max), radix: 16)
  private let lastNumber = Atomic<UInt64>(0)

  /// How long a write goes on repeating what is not acknowledged, before it throws.
  private static let patience = Duration.seconds(20)

  /// Makes a sink; it connects when it is first used, or by ``check()``.
  ///
  /// - Parameters:
  ///   - address: Where, with the stream of JetStream as its path, and the parameters `replicas` (1, or as there are), `window`
  ///     (most messages of a batch under way at once; 1,024), `duplicates` (2m) and `ack_timeout` (5s).
  ///   - logger: Where the making of the stream, and the state of the connection, are told.
  /// - Throws: ``ProgramError`` for a name or parameter that makes no sense.
  package init(_ address: NATSAddress, logger: Logger) throws(ProgramError) {
    self.address = address
    self.logger = logger
    guard let name = address.resource else {
      throw ProgramError("\(address) names no stream: give nats://HOST/STREAM")
    }
    try NATSAddress.checkName(name, "stream of JetStream")
    var parameters = Parameters(address)
    let replicas = try parameters.number("replicas", in: 1...5)
    window = try parameters.number("window", in: 1...65_536) ?? 1_024
    let duplicates = try parameters.duration("duplicates", in: .milliseconds(100)...(.seconds(86_400))) ?? .seconds(120)
    ackTimeout = try parameters.duration("ack_timeout", in: .milliseconds(100)...(.seconds(60))) ?? .seconds(5)
    try parameters.finish()
    plan = StreamPlan(name: name, replicas: replicas, duplicates: Int64(duplicates / .nanoseconds(1)))
  }

  package func write(_ messages: [Message], to stream: StreamName) async throws {
    guard !messages.isEmpty else { return }
    var session = try await self.session()
    let subject = plan.subject(of: stream)
    var left = messages.map {
      OutgoingMessage($0, subject: subject, stream: stream, fallback: "~\(nonce)/\(nextNumber)")
    }[...]
    // Before anything is published, so that a batch that is taken apart for it leaves nothing behind.
    if left.contains(where: { $0.size > session.maximumSize }) {
      throw refusal("a message is larger than the \(session.maximumSize) bytes that the server or the stream takes")
    }
    let end = ContinuousClock.now + Self.patience
    var backOff = Duration.milliseconds(20)
    var refused: NATSError?
    while true {
      let (unsent, failed) = await publish(left, by: session)
      refused = failed.first { !$0.error.isRetryable }?.error ?? refused
      left = (failed.filter(\.error.isRetryable).map(\.message) + unsent)[...]
      if left.isEmpty { break }
      try Task.checkCancellation()
      let error = failed.last?.error ?? NATSError("publishing", NATS_TIMEOUT)
      guard ContinuousClock.now < end else { throw outage(error) }
      try await Task.sleep(for: backOff)
      backOff = min(backOff * 2, .seconds(1))
      // Nobody has answered: a leader is being elected, or the stream is gone.
      if let found = try? await self.session(verified: error.status == NATS_NO_RESPONDERS) { session = found }
    }
    if let refused { throw refusal("\(refused)") }
  }

  private var nextNumber: UInt64 { lastNumber.wrappingAdd(1, ordering: .relaxed).newValue }

  /// Publishes messages, a window at a time, and goes no further than to the first window in which one failed.
  private func publish(
    _ messages: ArraySlice<OutgoingMessage>, by session: Session
  ) async -> (unsent: ArraySlice<OutgoingMessage>, failed: [(message: OutgoingMessage, error: NATSError)]) {
    var left = messages
    while !left.isEmpty {
      let part = Array(left.prefix(window))
      let errors = await session.connection.publish(part, on: queue, within: ackTimeout)
      left = left.dropFirst(part.count)
      let failed = zip(part, errors).compactMap { message, error in error.map { (message, $0) } }
      if !failed.isEmpty { return (left, failed) }
    }
    return ([], [])
  }

  // MARK: The connection

  /// The connection, made when there is none, and the stream's limits.
  private func session(verified: Bool = false) async throws -> Session {
    do {
      return try await queue.run { [self] in
        let (known, isClosed) = state.withLock { ($0.session, $0.isClosed) }
        guard !isClosed else { throw NATSError("publishing", NATS_CONNECTION_CLOSED, text: "the sink is closed") }
        let usable = known.flatMap { $0.connection.isClosed ? nil : $0 }
        if let usable, !verified { return usable }
        let connection = try usable?.connection ?? NATSConnection(address, name: "aggregator sink", logger: logger)
        let (size, isNew) = try plan.ensure(connection)
        if isNew {
          logger.notice(
            "made the stream of JetStream", metadata: ["stream": "\(plan.name)", "replicas": "\(plan.replicas ?? 1)"])
        }
        let session = Session(connection: connection, maximumSize: size)
        state.withLock { $0.session = session }
        return session
      }
    } catch let error as NATSError {
      throw outage(error)
    } catch let error as ProgramError {
      // It is the stream that is unfit, no message: when it has been seen to, they are taken.
      throw SinkError(description: "\(address): \(error)", isRetryable: true)
    }
  }

  private func outage(_ error: NATSError) -> SinkError {
    SinkError(description: "\(address): \(error)", isRetryable: true)
  }

  private func refusal(_ why: String) -> SinkError {
    SinkError(description: "\(address): \(why)", isRetryable: false)
  }

  /// Connects, and makes the stream where it is missing, so that a stream that is unfit is told at the start.
  ///
  /// - Throws: ``ProgramError`` for an unfit stream; ``SinkError`` when the servers cannot be reached now.
  package func prepare() async throws {
    let session = try await self.session()
    do {
      _ = try await queue.run { [plan] in try plan.ensure(session.connection) }
    } catch let error as NATSError {
      throw outage(error)
    }
  }

  package func check() async throws {
    let session = try await self.session()
    do {
      _ = try await queue.run { [plan] in
        try session.connection.flush(within: 2_000)
        return try plan.ensure(session.connection)
      }
    } catch let error as NATSError {
      throw outage(error)
    } catch {
      throw SinkError(description: "\(address): \(error)", isRetryable: true)
    }
  }

  package func close() async throws {
    await queue.run { [self] in
      let session = state.withLock { state in
        state.isClosed = true
        return state.session.take()
      }
      session?.connection.takeBack(NATSError("publishing", NATS_CONNECTION_CLOSED, text: "the sink is closed"))
      session?.connection.close()
    }
  }

  /// For tests: messages that are published and not acknowledged.
  var pending: Int { state.withLock { $0.session?.connection.acknowledgements.count ?? 0 } }
}
