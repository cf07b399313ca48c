import CoreMetrics
public import Logging
import Tracing

@usableFromInline
typealias Continuation = UnsafeContinuation<Wake, Never>

/// The shell around the machine: takes the lock, asks the machine, releases the lock, and does what the machine said.
///
/// It knows the message type, the clock, the handlers and the logger. Nothing of a user's but the clock is called with the
/// lock held.
@usableFromInline
final class Core<Message: Sendable>: Sendable {
  @usableFromInline let machine: Guarded<Machine<Continuation>>
  /// Rings when a batch is due.
  let bell = Bell()
  /// Of senders that find no room.
  let patience = Patience()
  let time: TimeSource
  @usableFromInline let weight: (@Sendable (Message) -> Int)?
  @usableFromInline let keepsContexts: Bool
  let overflow: OverflowPolicy
  /// What it was made with.
  let original: AggregatorConfiguration
  /// What it was made with, as what follows from it.
  let batchSize: Int
  let slotPause: SpinLock.SlotPause
  let isKeyed: Bool
  let handling: Handling<Message>
  let store: MessageStore<Message>
  let reporter: Reporter
  /// `nil` where sizes stay as they are.
  let adapter: Adapter?
  /// `nil` when nobody collects metrics.
  let metrics: MetricsPublisher?
  /// `nil` when handler calls are not traced.
  let spans: HandlerSpans?
  /// Whether nothing is around a handler call.
  let callsAreBare: Bool

  @usableFromInline
  init(
    name: String,
    configuration: AggregatorConfiguration,
    clock: any Clock<Duration>,
    logger: Logger?,
    random: @escaping @Sendable () -> UInt64,
    weight: (@Sendable (Message) -> Int)?,
    mover: MessageMover<Message>,
    canBeWithdrawn: Bool = false,
    isKeyed: Bool = false,
    handler: @escaping @Sendable (Batch<Message>) async throws -> Void,
    onFailure: (@Sendable (BatchFailure<Message>) async -> Void)?,
    onSettled: (@Sendable ([Message]) -> Void)? = nil,
    grouping: (@Sendable ([Message]) -> [[Int]])? = nil
  ) throws(AggregatorError) {
    try configuration.validate(hasWeight: weight != nil)
    spans = HandlerSpans(aggregator: name, policy: configuration.tracing, tracer: InstrumentationSystem.tracer)
    store = MessageStore(keepsContexts: spans?.linksSenders ?? false, mover: mover)
    var settings = MachineSettings(configuration)
    keepsContexts = store.keepsContexts
    settings.hasPlainSlots = !keepsContexts
    settings.canBeWithdrawn = canBeWithdrawn
    settings.isKeyed = isKeyed
    self.isKeyed = isKeyed
    metrics = MetricsPublisher(
      aggregator: name, batchSize: configuration.batchSize, factory: MetricsSystem.factory)
    // Where each batch has more to say than that it was handled, its slot comes to the lock anyway.
    settings.hasInbox =
      metrics == nil && onSettled == nil && !isKeyed && !settings.isTagged && settings.hasPlainSlots
    machine = Guarded(Machine(settings: settings, layout: store.layout))
    time = TimeSource(clock)
    self.weight = settings.isWeighted ? weight : nil
    overflow = configuration.overflow
    original = configuration
    adapter = configuration.adaptation.bounds.map {
      Adapter($0, batchSize: configuration.batchSize, concurrency: configuration.concurrency)
    }
    batchSize = configuration.batchSize
    slotPause = SpinLock.SlotPause(batchesAreSmall: Self.areSmall(batchSize))
    handling = Handling(
      retry: configuration.retry, timeout: configuration.handlerTimeout, random: random, handler: handler,
      onFailure: onFailure, onSettled: onSettled, grouping: grouping)
    reporter = Reporter(name: name, logger: logger)
    callsAreBare = configuration.handlerTimeout == nil && spans == nil && adapter == nil && metrics == nil
  }

  /// A machine without a handler, for who takes the batches himself.
  ///
  /// Nobody looks on.
  init(settings: MachineSettings, clock: any Clock<Duration>, mover: MessageMover<Message>) {
    spans = nil
    isKeyed = false
    keepsContexts = false
    store = MessageStore(keepsContexts: false, mover: mover)
    machine = Guarded(Machine(settings: settings, layout: store.layout))
    time = TimeSource(clock)
    weight = nil
    overflow = .reject
    original = AggregatorConfiguration()
    adapter = nil
    batchSize = settings.batchSize
    slotPause = SpinLock.SlotPause(batchesAreSmall: Self.areSmall(batchSize))
    handling = Handling(
      retry: .never, timeout: nil, random: { 0 }, handler: { _ in }, onFailure: nil,
      onSettled: nil, grouping: nil)
    reporter = Reporter(name: "", logger: nil)
    metrics = nil
    callsAreBare = true
  }

  deinit {
    // All is settled after a run; without one, this is the only place where messages are lost. Nobody else can want the lock
    // any more, so it does no harm that the messages' own deinits run under it.
    machine.withLock { machine in
      let held = machine.statistics().held
      if held > 0 { reporter.thrownAway(held: held) }
      var effects = Effects<Continuation>()
      machine.close(.shutdown, &effects)
      while let batch = machine.takeDue() {
        store.destroy(batch.range, of: batch.segment.base)
        batch.segment.free()
      }
      destroyLanes(&machine, &effects)
      while let drops = machine.dropsTaken() {
        store.destroy(0..<drops.count, of: drops.segment.base)
        drops.segment.free()
      }
      machine.free()
    }
  }
}

/// What is done with a batch once a worker has it.
struct Handling<Message: Sendable>: Sendable {
  let retry: RetryPolicy
  let timeout: Duration?
  let random: @Sendable () -> UInt64
  let handler: @Sendable (Batch<Message>) async throws -> Void
  let onFailure: (@Sendable (BatchFailure<Message>) async -> Void)?
  /// Gets messages of which some are settled, as soon as they are counted.
  ///
  /// It gets them again when others of them are.
  let onSettled: (@Sendable ([Message]) -> Void)?
  /// Offsets of messages with the same key.
  let grouping: (@Sendable ([Message]) -> [[Int]])?
}

extension MachineSettings {
  init(_ configuration: AggregatorConfiguration) {
    batchSize = configuration.batchSize
    linger = configuration.linger
    concurrency = configuration.concurrency
    capacity = configuration.effectiveCapacity
    configuredCapacity = configuration.capacity
    dropsOldest = configuration.overflow == .dropOldest
    drainTimeout = configuration.drainTimeout
    maximumBatchWeight = configuration.maximumBatchWeight ?? .max
    maximumHeldWeight = configuration.maximumHeldWeight ?? .max
  }
}

extension Core {
  /// Asks the machine, and resumes whom it says once the lock is released.
  @inline(__always)
  func ask<Answer>(
    _ question: (inout Machine<Continuation>, inout Effects<Continuation>) -> Answer
  ) -> Answer {
    machine.lock.pointee.lock()
    return askHoldingLock(question)
  }

  /// The same for a caller that has taken the lock by hand.
  @inline(__always)
  func askHoldingLock<Answer>(
    _ question: (inout Machine<Continuation>, inout Effects<Continuation>) -> Answer
  ) -> Answer {
    var effects = Effects<Continuation>()
    let answer = machine.withHeldLock {
      let answer = question(&$0, &effects)
      // Not earlier: what has been accepted is in its slot only now.
      if $0.post() { effects.stroke = nil }
      return answer
    }
    perform(effects)
    return answer
  }

  @inline(__always)
  private func perform(_ effects: Effects<Continuation>) {
    if let stroke = effects.stroke { bell.ring(stroke) }
    guard let first = effects.first else { return }
    first.waiter.resume(returning: first.wake)
    for other in effects.others { other.waiter.resume(returning: other.wake) }
  }

  /// Suspends until the machine resumes the task, or goes on at once where `park` says `false`.
  ///
  /// Returns what `park` said.
  func park(_ park: (inout Machine<Continuation>, Continuation) -> Bool) async -> Bool {
    var isParked = false
    _ = await withUnsafeContinuation { (continuation: Continuation) in
      isParked = machine.withLock { park(&$0, continuation) }
      if !isParked { continuation.resume(returning: .look) }
    }
    return isParked
  }

  /// Suspends a task that stands in a line of the machine until it is told what has become of it.
  ///
  /// `attach` brings the continuation, or says what has become of the task already; `cancel` may come before it, and
  /// after the end.
  func wait(
    attach: (inout Machine<Continuation>, Continuation) -> Wake?,
    cancel: @escaping @Sendable (inout Machine<Continuation>, inout Effects<Continuation>) -> Void
  ) async -> Wake {
    await withTaskCancellationHandler {
      await withUnsafeContinuation { (continuation: Continuation) in
        if let wake = machine.withLock({ attach(&$0, continuation) }) { continuation.resume(returning: wake) }
      }
    } onCancel: {
      ask(cancel)
    }
  }

  func statistics() -> AggregatorStatistics {
    machine.withLock { $0.statistics() }
  }

  func totals() -> Totals {
    machine.withLock { $0.totals() }
  }

  /// Publishes the ledger; `false` when some of it is left to publish.
  @discardableResult
  func publish() -> Bool {
    guard let metrics else { return true }
    return metrics.publish(totals) != .unfinished
  }

  /// The same for who sends, where no batch is taken or ended: now and then.
  func publishForSender() {
    metrics?.publishForSender(now: time.now(), totals)
  }

  /// What can be changed, as it is now.
  var tuning: Tuning {
    machine.withLock {
      Tuning(
        batchSize: $0.settings.batchSize, linger: $0.settings.linger, concurrency: $0.settings.concurrency,
        capacity: $0.settings.configuredCapacity)
    }
  }

  /// The configuration that is in force.
  var configuration: AggregatorConfiguration {
    let tuning = tuning
    var configuration = original
    configuration.batchSize = tuning.batchSize
    configuration.linger = tuning.linger
    configuration.concurrency = tuning.concurrency
    configuration.capacity = tuning.capacity
    return configuration
  }

  /// Changes what can be changed.
  func reconfigure(_ configuration: AggregatorConfiguration) throws(AggregatorError) {
    try configuration.validate(hasWeight: original.maximumBatchWeight != nil || original.maximumHeldWeight != nil)
    try configuration.validateSame(as: original)
    let tuning = Tuning(configuration)
    let capacity = configuration.effectiveCapacity
    adapter?.restart(batchSize: configuration.batchSize, concurrency: configuration.concurrency)
    ask { $0.reconfigured(tuning, capacity: capacity, now: time.now(), &$1) }
    publishForSender()
  }

  /// Sizes follow what a handler call has taken.
  func adapt(to messages: Int, time taken: Duration, _ adapter: Adapter) {
    guard let size = adapter.callEnded(messages: messages, time: taken) else { return }
    var configuration = configuration
    configuration.batchSize = size.batchSize
    configuration.concurrency = size.concurrency
    let tuning = Tuning(configuration)
    let capacity = configuration.effectiveCapacity
    ask { $0.reconfigured(tuning, capacity: capacity, now: time.now(), &$1) }
  }

  func shutdown() {
    ask { $0.shutdownAsked(now: time.now(), &$1) }
  }

  func flush() async throws(CancellationError) {
    guard let id = ask({ $0.flushAsked(&$1) }) else { return }
    let wake = await wait {
      $0.flusherWaits(id, $1)
    } cancel: {
      $0.flusherCancelled(id, &$1)
    }
    if case .cancelled = wake { throw CancellationError() }
  }

  /// The same for who has no business with cancellation, and without making the open batch due.
  func settled() async {
    guard let id = machine.withLock({ $0.settlementAsked() }) else { return }
    _ = await withUnsafeContinuation { (continuation: Continuation) in
      if let wake = machine.withLock({ $0.flusherWaits(id, continuation) }) { continuation.resume(returning: wake) }
    }
  }
}
