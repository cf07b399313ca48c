import DequeModule

/// A batch of one key's messages, open or closed.
struct LaneBatch {
  /// Its messages; undefined while there are none.
  var chain: Chain?
  var count = 0
  var weight = 0
  var epoch = 0
  /// When its first message was accepted.
  var began = Duration.zero
  /// What made it due, once it is.
  var due: Trigger?
}

/// Messages of one key on their way to the handler, one batch at a time.
struct Lane {
  enum State: UInt8 {
    /// No batch is due.
    case idle
    /// In the line for a slot.
    case queued
    /// A slot has a batch of it, or the failure handler has.
    case busy
    /// What is left of a batch waits for its next attempt, without a slot.
    case backingOff
  }

  var hash = 0
  /// The key, which only the shell can look into, retained; `nil` for a number that waits to be used again.
  ///
  /// Unmanaged, because to retain it for each comparison costs as much as to compare.
  var key: Unmanaged<AnyObject>?
  /// Distinguishes it from others that have had its number.
  var generation = -1
  var state = State.idle
  /// Messages held, those with the handler included.
  var held = 0
  var heldWeight = 0
  /// The batch that takes messages; none while its count is 0.
  var open = LaneBatch()
  /// The oldest batch that is due and closed; none while its count is 0.
  var closed = LaneBatch()
  /// Those closed after it: only a busy lane has some.
  var others: Deque<LaneBatch> = []
  /// What is left of a batch after a failed attempt, which only the shell can look into.
  var unfinished: AnyObject?
  /// Messages of senders that wait, or are about to: it must not be forgotten.
  var pins = 0
  /// Senders whose next message is for this lane and that wait for its share, in the order of their IDs.
  var blocked: Deque<Int> = []

  /// Whether a slot would find something to do.
  var hasWork: Bool { closed.count > 0 || unfinished != nil || (open.count > 0 && open.due != nil) }

  /// The open batch takes no more messages.
  mutating func close() {
    append(closed: open)
    open = LaneBatch()
  }

  mutating func append(closed batch: LaneBatch) {
    if closed.count == 0 { closed = batch } else { others.append(batch) }
  }

  /// Takes out the oldest closed batch.
  mutating func popClosed() -> LaneBatch? {
    guard closed.count > 0 else { return nil }
    defer { closed = others.popFirst() ?? LaneBatch() }
    return closed
  }

  /// A message of so much weight is appended to the open batch, or begins one; in a new node, where there is one.
  mutating func append(_ node: Node?, weight: Int) {
    if let node {
      if let newest = open.chain?.newest, open.count > 0 {
        node.older = newest
        open.chain?.newest = node
      } else {
        open.chain = Chain(newest: node, oldest: node)
      }
    }
    open.count += 1
    open.weight += weight
    held += 1
    heldWeight += weight
  }
}

/// The lanes of all keys that have messages held or on their way.
struct Lanes {
  /// By their numbers; not an array, which would give a copy to who reads.
  private var lanes: UnsafeMutablePointer<Lane>
  private var capacity = 0
  /// Numbers below it have been in use.
  private var end = 0
  private(set) var unused: [Int] = []
  /// By the low bits of their hashes: the number of the first lane with these, -1 for none.
  private var buckets: [Int] = []
  /// The number of the next lane in the same bucket, by number.
  private var nextInBucket: [Int] = []
  /// How many lanes there have been; changes whenever one is added.
  private(set) var generations = 0
  private(set) var count = 0

  /// Lanes that wait for a slot, each once: who has had its turn goes to the end.
  var ready: Deque<Int> = []
  /// When the open batches' first messages are `linger` old.
  var lingers = LaneHeap()
  /// When what is left of batches is to be tried again.
  var backOffs = LaneHeap()
  /// Senders that wait for room, and not for the share of their lane, in the order of their IDs.
  var line: Deque<Int> = []
  /// Lanes with senders that wait for their share.
  var blocked: [Int] = []
  /// The oldest and the newest message whose batch has not started, where messages can be pushed out.
  var oldest: Node?
  var newest: Node?
  var nodes: NodePool

  /// Beyond so many lanes, the memory of the table is given back when the last is forgotten.
  private static let smallTable = 1024

  init(layout: NodeLayout) {
    nodes = NodePool(layout: layout)
    lanes = .allocate(capacity: 0)
  }

  /// The same lanes in memory of their own, but for their messages, which still lie in the nodes of these.
  func copyWithoutNodes() -> Lanes {
    var copy = self
    copy.lanes = .allocate(capacity: capacity)
    copy.lanes.initialize(from: lanes, count: end)
    for number in 0..<end { _ = copy.lanes[number].key?.retain() }
    copy.nodes = NodePool(layout: nodes.layout)
    return copy
  }

  /// Gives all memory back.
  mutating func deallocate() {
    giveTableBack()
    lanes.deallocate()
    nodes.deallocate()
  }

  private mutating func giveTableBack() {
    lanes.deinitialize(count: end)
    lanes.deallocate()
    lanes = .allocate(capacity: 0)
    capacity = 0
    end = 0
    unused = []
    buckets = []
    nextInBucket = []
    lingers = LaneHeap()
    backOffs = LaneHeap()
  }

  subscript(_ lane: Int) -> Lane {
    unsafeAddress { UnsafePointer(lanes + lane) }
    nonmutating unsafeMutableAddress { lanes + lane }
  }

  /// All numbers, those that wait to be used again included.
  var numbers: Range<Int> { 0..<end }

  /// Whether a lane is still the one that was found as `generation`.
  func isCurrent(_ lane: Int, _ generation: Int) -> Bool {
    lane < end && lanes[lane].generation == generation
  }

  /// The first lane with this hash, or the next one after another.
  func find(_ hash: Int, after lane: Int? = nil) -> Int? {
    guard !buckets.isEmpty else { return nil }
    var lane = lane.map { nextInBucket[$0] } ?? buckets[hash & (buckets.count - 1)]
    while lane >= 0 {
      if lanes[lane].hash == hash { return lane }
      lane = nextInBucket[lane]
    }
    return nil
  }

  mutating func add(_ hash: Int, key: AnyObject) -> Int {
    if count == buckets.count { enlarge() }
    let lane = Lane(hash: hash, key: Unmanaged.passRetained(key), generation: generations)
    generations += 1
    count += 1
    let number: Int
    if let reused = unused.popLast() {
      number = reused
      lanes[number] = lane
    } else {
      number = end
      if end == capacity { grow() }
      (lanes + end).initialize(to: lane)
      end += 1
      nextInBucket.append(-1)
    }
    let bucket = hash & (buckets.count - 1)
    nextInBucket[number] = buckets[bucket]
    buckets[bucket] = number
    return number
  }

  /// Forgets a lane; returns its key, which is to be let go of outside the lock.
  mutating func remove(_ number: Int) -> AnyObject? {
    let key = lanes[number].key.take()?.takeRetainedValue()
    let bucket = lanes[number].hash & (buckets.count - 1)
    if buckets[bucket] == number {
      buckets[bucket] = nextInBucket[number]
    } else {
      var before = buckets[bucket]
      while nextInBucket[before] != number { before = nextInBucket[before] }
      nextInBucket[before] = nextInBucket[number]
    }
    lanes[number] = Lane()
    unused.append(number)
    count -= 1
    if count == 0, end > Self.smallTable { giveTableBack() }
    return key
  }

  private mutating func grow() {
    capacity = max(2 * capacity, 16)
    let larger = UnsafeMutablePointer<Lane>.allocate(capacity: capacity)
    larger.moveInitialize(from: lanes, count: end)
    lanes.deallocate()
    lanes = larger
  }

  private mutating func enlarge() {
    buckets = Array(repeating: -1, count: max(2 * buckets.count, 16))
    for number in 0..<end where lanes[number].key != nil {
      let bucket = lanes[number].hash & (buckets.count - 1)
      nextInBucket[number] = buckets[bucket]
      buckets[bucket] = number
    }
  }
}
