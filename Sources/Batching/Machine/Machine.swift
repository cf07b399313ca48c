import DequeModule

/// The state of an aggregator, and every decision about it; pure.
///
/// It has no clock, lock, logger, source of randomness, or task. Times are durations on the aggregator's clock and come as
/// arguments; tasks that wait are of an opaque type. Its methods are named after what has happened. They change the state
/// and say what the shell, `Core`, has to do once the lock is released.
///
/// What it does not know is the messages' type: it hands out slots of raw memory, which the shell fills and empties.
@usableFromInline
struct Machine<Waiter>: ~Copyable {
  /// What the hot path touches, and nothing else: an accepted message is a compare, a store, and an increment.
  @usableFromInline var slots = OpenSlots()

  // From here on in the order in which a batch needs them: its way through the machine should touch few cache lines, for each
  // of them moves from the producer's core to the worker's and back.

  var open: OpenBatch?
  var phase = Phase.open
  var hasRun = false
  var heldWeight = 0
  var nextSequenceNumber = 1
  /// The number of the message that was offered last, where messages can be withdrawn.
  var lastNumber = 0
  /// Batches that are due and closed, oldest first.
  ///
  /// All are older than the open one.
  var ready: Deque<ClosedBatch> = []
  var pool: SegmentPool
  var epochs = Epochs()
  var senders = WaitQueue<Parcel, Waiter>()
  var workers = Workers<Waiter>()
  var timer = TimerState<Waiter>.absent
  /// Messages by their fate.
  ///
  /// Those of the open batch since `open.counted` come in at the next event (see `countOpen`).
  var ledger = AggregatorStatistics()
  var batchesTaken = TriggerCounts()
  var inbox = Inbox()

  var drops = DropBox()
  var flushers = WaitQueue<Int, Waiter>()
  var supervisor = SupervisorState<Waiter>()
  var drainDeadline: Duration?
  /// In a by-key aggregator: what `open` and `ready` are otherwise, for each key.
  var lanes: Lanes

  // Hardly ever written, and so at home in every core's cache, as long as nothing beside them is written either.
  var settings: MachineSettings
  let layout: MessageLayout

  init(settings: MachineSettings, layout: MessageLayout) {
    self.settings = settings
    self.layout = layout
    pool = SegmentPool(limit: SegmentPool.limit(settings, layout))
    lanes = Lanes(layout: NodeLayout(layout, tagged: settings.isTagged))
  }
}

/// The open batch's memory and how far the hot path may fill it.
@usableFromInline
struct OpenSlots {
  /// The memory of the open batch, if there is one.
  @usableFromInline var base: UnsafeMutableRawPointer?
  /// Slots filled.
  @usableFromInline var count = 0
  /// The hot path fills a slot while `count` is below it.
  ///
  /// Whatever else has to be looked at (the first message, the last one, capacity, weight, waiting senders, a
  /// shutdown) keeps it lower, so that one compare answers all.
  @usableFromInline var limit = 0
}

/// What of the configuration the machine needs.
struct MachineSettings: Sendable {
  var batchSize = 500
  var linger = Duration.milliseconds(10)
  var concurrency = 1
  var capacity = 4_000
  /// `nil` where the capacity is the default.
  var configuredCapacity: Int?
  var dropsOldest = false
  var drainTimeout: Duration?
  /// `Int.max` stands for no limit.
  var maximumBatchWeight = Int.max
  /// `Int.max` stands for no limit.
  var maximumHeldWeight = Int.max
  /// Whether a slot takes a message and nothing else, so that the hot path can fill it.
  var hasPlainSlots = true

  /// Whether batches are made by key, in lanes.
  var isKeyed = false

  /// Whether slots may go on without the lock.
  var hasInbox = false

  /// Whether a message can be taken back by its sender until its batch starts.
  var canBeWithdrawn = false

  /// What a single message may weigh.
  var heaviestMessage: Int { min(maximumBatchWeight, maximumHeldWeight) }
  var isWeighted: Bool { maximumBatchWeight < .max || maximumHeldWeight < .max }
  /// Whether the first message of a batch may leave before the others.
  var keepsArrivals: Bool { dropsOldest || canBeWithdrawn }
  /// Weights are needed when a message leaves alone; arrivals when the first of a batch does; numbers to find one.
  var isTagged: Bool { isWeighted || keepsArrivals }
}

/// How far the aggregator's life has come.
enum Phase: Equatable {
  /// Takes messages. Becomes `draining` or `aborted`.
  case open
  /// Takes none, settles what it holds. Becomes `aborted` or `done`.
  case draining
  /// Gives what it holds to the failure handler. Becomes `done`.
  case aborted(AbortReason)
  /// Holds nothing, for good.
  case done
}

/// Why handlers are cancelled and batches given up.
enum AbortReason: Equatable, Sendable { case runCancelled, drainTimedOut }

/// The batch that takes messages.
///
/// Its slots are `Machine.slots`.
struct OpenBatch {
  var segment: Segment
  /// The first slot that is still in use; those before it were pushed out.
  var head = 0
  /// Slots that the ledger has.
  var counted = 0
  var weight = 0
  let epoch: Int
  /// When its first message was accepted.
  var began: Duration
  /// When its first message is `linger` old.
  var deadline: Duration
  /// What made it due, once it is.
  ///
  /// It goes on growing until a slot takes it.
  var due: Trigger?
}

/// A batch that takes no more messages and waits for a slot.
struct ClosedBatch {
  var segment: Segment
  var range: Range<Int>
  var weight: Int
  let epoch: Int
  let trigger: Trigger
  /// When its first message was accepted.
  var began: Duration
}

/// Batches by trigger, without a dictionary on the way of each, and without memory of their own.
struct TriggerCounts {
  private var counts = InlineArray<6, Int>(repeating: 0)

  subscript(trigger: Trigger) -> Int {
    get { counts[trigger.kind.rawValue] }
    set { counts[trigger.kind.rawValue] = newValue }
  }
}

/// What an ``AggregatorStatistics`` says, as a plain value.
struct Totals {
  var accepted = 0
  var handled = 0
  var failed = 0
  var dropped = 0
  var cancelled = 0
  var rejected = 0
  var retries = 0
  var batches = TriggerCounts()
  var held = 0
  var inFlight = 0
  var waitingSenders = 0
}

extension Machine {
  /// The ledger at this instant.
  mutating func statistics() -> AggregatorStatistics {
    countOpen()
    countInbox()
    var statistics = ledger
    statistics.waitingSenders = senders.count
    for trigger in Trigger.allCases { statistics.batches[trigger] = batchesTaken[trigger] }
    return statistics
  }

  /// The ledger at this instant, for what asks once a batch: nothing is allocated for it.
  mutating func totals() -> Totals {
    countOpen()
    countInbox()
    return Totals(
      accepted: ledger.accepted, handled: ledger.handled, failed: ledger.failed, dropped: ledger.dropped,
      cancelled: ledger.cancelled, rejected: ledger.rejected, retries: ledger.retries, batches: batchesTaken,
      held: ledger.held, inFlight: ledger.inFlight, waitingSenders: senders.count)
  }

  /// Brings the messages that the hot path has accepted into the ledger.
  ///
  /// Every event that reads the ledger begins with it.
  mutating func countOpen() {
    guard let counted = open?.counted, counted < slots.count else { return }
    ledger.accepted += slots.count - counted
    ledger.held += slots.count - counted
    open?.counted = slots.count
  }

  /// Whether there is no room for another message.
  var isFull: Bool { ledger.held >= settings.capacity }

  /// Says anew how far the hot path may go.
  ///
  /// Every event that changes what it depends on ends with it.
  mutating func limitHotPath() {
    guard let capacity = open?.segment.capacity, phase == .open, settings.hasPlainSlots, !settings.isTagged,
      senders.isEmpty
    else {
      slots.limit = 0
      return
    }
    let room = settings.capacity - ledger.held
    slots.limit = min(settings.batchSize - 1, capacity, slots.count + room)
  }

  /// Gives back all memory; the messages in it must have been destroyed.
  mutating func free() {
    pool.free()
    lanes.deallocate()
    inbox.free()
    drops.segment?.free()
  }
}
