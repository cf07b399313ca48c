public import Logging
public import ServiceLifecycle

/// Collects messages by their keys and hands them to an async handler in batches of one key each, in order.
///
/// Batches of one key never overlap and keep their order, retries included; other keys go on meanwhile. What Kafka does with the
/// messages of a partition, and what is wanted for accounts, tenants, devices and files.
///
/// ```swift
/// let changes = try KeyedAggregator<Account.ID, Change>(
///   configuration: .init(batchSize: 100, concurrency: 8, retry: .exponential()), key: \.account
/// ) { account, batch in
///   try await ledger.apply(batch, to: account)
/// } onFailure: { account, failure in
///   await deadLetters.save(failure.messages, of: account, because: failure.error)
/// }
/// ```
///
/// It is an ``Aggregator`` for each key, with one set of slots, one bound on what is held, and one timer for all: `batchSize`,
/// `linger` and weights of batches count for each key, `concurrency`, `capacity` and `maximumHeldWeight` for all together.
/// It works while ``run()`` runs. What it adds:
///
/// - **Order.** If one send has returned before another begins, and their keys are equal, its message is handled first. A key has
///   one handler call at a time, and its next batch waits until the one before is settled. *Within* a batch that was
///   partly handled, or halved to isolate its poison messages, order is given up.
/// - **Fairness.** Keys with a due batch take turns, one handler call each. A key whose batch failed is put aside for its
///   back-off, and while `onFailure` has its messages, and gives its slot away. A key may always hold a batch's worth of
///   messages; beyond that, fewer than there is room left: one busy key takes at most half of `capacity`, two a third each, and
///   so on, so that there is always room for others. Who sends more waits (or is refused, or pushes out the key's own oldest),
///   without being in the way of senders with other keys.
/// - **Idle keys cost nothing.** A key is forgotten when nothing of it is held.
///
/// A batch is due as in an ``Aggregator``. With many keys of few messages each, `linger` times the rate of messages should fit
/// in `capacity`: when it is full of batches that are not due, senders wait until some are.
public final class KeyedAggregator<Key: Hashable & Sendable, Message: Sendable>: Service, Sendable {
  @usableFromInline let core: Core<Message>
  @usableFromInline let key: @Sendable (Message) -> Key
  @usableFromInline let comparesUnderLock: Bool

  /// Makes an aggregator, which takes messages from now on and handles them once ``run()`` is called.
  ///
  /// - Parameters:
  ///   - name: The label of its metrics, logs and spans.
  ///   - configuration: Sizes, times and policies.
  ///   - clock: What `linger`, time-outs and back-offs are measured on.
  ///   - logger: Where it logs, at `info` and below, never the contents of a message or a key. `nil` logs nothing.
  ///   - weight: What a message weighs, for `maximumBatchWeight` and `maximumHeldWeight`.
  ///   - key: The key of a message; the same one whenever it is asked.
  ///   - handler: Handles a batch of messages with the same key.
  ///   - onFailure: Gets messages of one key that are given up. Its slot goes on meanwhile, and the key waits; at most
  ///     `concurrency` such calls, and one for messages that were pushed out, run at once.
  /// - Throws: ``AggregatorError/invalidConfiguration(_:was:allowed:)`` for a value that makes no sense.
  @inlinable
  public convenience init(
    name: String = "aggregator",
    configuration: AggregatorConfiguration = .init(),
    clock: any Clock<Duration> = ContinuousClock(),
    logger: Logger? = nil,
    weight: (@Sendable (Message) -> Int)? = nil,
    key: @escaping @Sendable (Message) -> Key,
    handler: @escaping @Sendable (Key, Batch<Message>) async throws -> Void,
    onFailure: (@Sendable (Key, BatchFailure<Message>) async -> Void)? = nil
  ) throws(AggregatorError) {
    try self.init(
      name: name, configuration: configuration, clock: clock, logger: logger, random: randomNumber, weight: weight,
      mover: messageMover(), key: key, handler: handler, onFailure: onFailure)
  }

  /// The same with a source of randomness, for simulations that repeat exactly.
  package convenience init(
    configuration: AggregatorConfiguration, clock: any Clock<Duration>, random: @escaping @Sendable () -> UInt64,
    weight: (@Sendable (Message) -> Int)?, key: @escaping @Sendable (Message) -> Key,
    handler: @escaping @Sendable (Key, Batch<Message>) async throws -> Void,
    onFailure: (@Sendable (Key, BatchFailure<Message>) async -> Void)?
  ) throws(AggregatorError) {
    try self.init(
      name: "aggregator", configuration: configuration, clock: clock, logger: nil, random: random, weight: weight,
      mover: messageMover(), key: key, handler: handler, onFailure: onFailure)
  }

  /// The one that makes it.
  @usableFromInline
  init(
    name: String, configuration: AggregatorConfiguration, clock: any Clock<Duration>, logger: Logger?,
    random: @escaping @Sendable () -> UInt64, weight: (@Sendable (Message) -> Int)?, mover: MessageMover<Message>,
    key: @escaping @Sendable (Message) -> Key,
    handler: @escaping @Sendable (Key, Batch<Message>) async throws -> Void,
    onFailure: (@Sendable (Key, BatchFailure<Message>) async -> Void)?
  ) throws(AggregatorError) {
    self.key = key
    comparesUnderLock = isPlainKey(Key.self)
    var saveFailure: (@Sendable (BatchFailure<Message>) async -> Void)?
    if let onFailure { saveFailure = { await onFailure(key($0.items[0].message), $0) } }
    core = try Core(
      name: name, configuration: configuration, clock: clock, logger: logger, random: random, weight: weight,
      mover: mover,
      isKeyed: true,
      handler: { try await handler(key($0[0]), $0) },
      onFailure: saveFailure,
      grouping: { $0.grouped(by: key) })
  }

  /// Sends a message; waits while there is no room for it.
  ///
  /// As ``Aggregator/send(_:)``. Senders that wait are served first come, first served, but one whose key has had its share
  /// of `capacity` does not hold up those with other keys.
  ///
  /// - Throws: What ``Aggregator/send(_:)`` throws.
  @inlinable
  public func send(_ message: Message) async throws {
    let weight = core.weigh(message)
    switch offer(message, weight: weight, waits: core.waitsForRoom) {
    case .accepted: return
    case .closed: throw AggregatorError.closed
    case .tooHeavy: throw AggregatorError.tooHeavy
    case .full(let lane):
      guard core.waitsForRoom else { throw AggregatorError.full }
      switch await core.wait(for: [message], weights: [weight], lanes: [lane]) {
      case .closed: throw AggregatorError.closed
      case .cancelled: throw CancellationError()
      default: return
      }
    }
  }

  /// Sends messages, of any keys, in order; waits while there is no room.
  ///
  /// - Throws: What ``Aggregator/send(contentsOf:)`` throws. A prefix of the messages was accepted then, as many as
  ///   ``AggregatorError/acceptedCount`` says.
  @inlinable
  public func send(contentsOf messages: some Sequence<Message>) async throws(AggregatorError) {
    // The iterator is the user's: it never runs under the lock, and no further than messages can be sent.
    var iterator = messages.makeIterator()
    var sent = 0
    var ahead: Message?
    while let message = ahead.take() ?? iterator.next() {
      let weight = core.weigh(message)
      var waiting: WaitingItems<Message>
      switch offer(message, weight: weight, waits: core.waitsForRoom) {
      case .accepted:
        sent += 1
        continue
      case .closed: throw AggregatorError.closed.after(sent)
      case .tooHeavy: throw AggregatorError.tooHeavy.after(sent)
      case .full(let lane):
        guard core.waitsForRoom else { throw AggregatorError.full.after(sent) }
        waiting = WaitingItems(message, weight: weight, lane: lane)
      }
      // Some of those behind it wait with it, so that one resumption serves many; one that will never fit is refused when
      // it is its turn.
      while waiting.messages.count < WaitingItems<Message>.most, let message = iterator.next() {
        let weight = core.weigh(message)
        guard weight <= core.heaviestMessage else {
          ahead = message
          break
        }
        waiting.append(message, weight: weight, lane: pinLane(of: message))
      }
      switch await core.wait(for: waiting.messages, weights: waiting.weights, lanes: waiting.lanes) {
      case .closed(let admitted): throw AggregatorError.closed.after(sent + admitted)
      case .cancelled(let admitted): throw AggregatorError.cancelled.after(sent + admitted)
      default: sent += waiting.messages.count
      }
    }
  }

  /// Sends all of a sequence, in order, and returns when it ends.
  ///
  /// - Parameter sequence: What to send.
  /// - Throws: What the sequence throws, after its elements before were accepted; what ``send(_:)`` throws.
  @inlinable
  public func consume<Source: AsyncSequence>(_ sequence: Source) async throws where Source.Element == Message {
    for try await message in sequence { try await send(message) }
  }

  /// Sends a message if there is room for it; never waits, and can be called from any thread.
  ///
  /// It says ``TrySendResult/full`` when the key has had its share of `capacity`, too.
  @inlinable
  public func trySend(_ message: Message) -> TrySendResult {
    switch offer(message, weight: core.weigh(message), waits: false) {
    case .accepted: .accepted
    case .full: .full
    case .closed: .closed
    case .tooHeavy: .tooHeavy
    }
  }

  /// Makes the open batches of all keys due, and returns when all that was accepted before is settled, failures included.
  ///
  /// As ``Aggregator/flush()``.
  ///
  /// - Throws: `CancellationError` when the task is cancelled while it waits. The batches stay due.
  public func flush() async throws {
    try await core.flush()
  }

  /// Begins the orderly end: takes no more messages, and settles what is held without waiting for `linger`.
  ///
  /// As ``Aggregator/shutdown()``.
  public func shutdown() {
    core.shutdown()
  }

  /// Works until the aggregator is shut down, then drains, then returns.
  ///
  /// As ``Aggregator/run()``.
  ///
  /// - Throws: `CancellationError` when its task was cancelled, after all is settled; ``AggregatorError/alreadyRun`` when it
  ///   was called before.
  public func run() async throws {
    try await core.run(asService: true)
  }

  /// The configuration that is in force.
  public var configuration: AggregatorConfiguration { core.configuration }

  /// Changes `batchSize`, `linger`, `concurrency` and `capacity` while it runs.
  ///
  /// As ``Aggregator/reconfigure(_:)``.
  ///
  /// - Parameter configuration: What is wanted. Everything but those four must be as it was.
  /// - Throws: ``AggregatorError/invalidConfiguration(_:was:allowed:)``, and nothing has changed then.
  public func reconfigure(_ configuration: AggregatorConfiguration) throws(AggregatorError) {
    try core.reconfigure(configuration)
  }

  /// The ledger at this instant.
  public var statistics: AggregatorStatistics {
    core.statistics()
  }
}

// MARK: - To the lane

extension KeyedAggregator {
  @inlinable
  func offer(_ message: Message, weight: Int, waits: Bool) -> LaneAnswer {
    let key = key(message)
    guard !core.keepsContexts else { return offerWithContext(message, of: key, weight: weight, waits: waits) }
    return core.offerToLane(
      hash: key.hashValue, comparesUnderLock: comparesUnderLock, weight: weight, waits: waits,
      matches: { unsafeDowncast($0, to: KeyBox<Key>.self).key == key },
      makeKey: { KeyBox(key) },
      put: { $0.initializeMemory(as: Message.self, to: message) })
  }

  /// Beside the message, where it is sent from.
  @usableFromInline
  func offerWithContext(_ message: Message, of key: Key, weight: Int, waits: Bool) -> LaneAnswer {
    let context = core.store.currentContext
    return core.offerToLane(
      hash: key.hashValue, comparesUnderLock: comparesUnderLock, weight: weight, waits: waits,
      matches: { unsafeDowncast($0, to: KeyBox<Key>.self).key == key },
      makeKey: { KeyBox(key) },
      put: { core.store.put(message, context, into: $0) })
  }

  @inlinable
  func pinLane(of message: Message) -> Int {
    let key = key(message)
    return core.pinLane(
      hash: key.hashValue, comparesUnderLock: comparesUnderLock,
      matches: { unsafeDowncast($0, to: KeyBox<Key>.self).key == key },
      makeKey: { KeyBox(key) })
  }
}

/// Messages of one sender that wait together, with their lanes pinned.
@usableFromInline
struct WaitingItems<Message> {
  @usableFromInline var messages: [Message]
  @usableFromInline var weights: [Int]
  @usableFromInline var lanes: [Int]

  /// Their lanes are kept meanwhile, so they are not many.
  @usableFromInline static var most: Int { 64 }

  @usableFromInline
  init(_ message: Message, weight: Int, lane: Int) {
    messages = [message]
    weights = [weight]
    lanes = [lane]
  }

  @usableFromInline
  mutating func append(_ message: Message, weight: Int, lane: Int) {
    messages.append(message)
    weights.append(weight)
    lanes.append(lane)
  }
}

extension Array {
  /// The offsets of elements with the same key, the keys in the order in which they come first.
  fileprivate func grouped<Key: Hashable>(by key: (Element) -> Key) -> [[Int]] {
    var places: [Key: Int] = [:]
    var groups: [[Int]] = []
    for (offset, element) in enumerated() {
      let key = key(element)
      if let place = places[key] {
        groups[place].append(offset)
      } else {
        places[key] = groups.count
        groups.append([offset])
      }
    }
    return groups
  }
}
