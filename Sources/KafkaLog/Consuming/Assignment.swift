import AggregatorStorage
import DequeModule

/// The partitions that are a member's now, and how far each is; what is read, handed out, settled and to be committed.
///
/// Pure.
///
/// Each time that a partition is assigned it gets a new epoch, which its messages carry as their ticket. What is said of a
/// message of an earlier epoch is passed over: since then, another member may have done and committed it.
struct Assignment: Sendable {
  /// A partition as librdkafka names it.
  struct Place: Sendable, Hashable {
    let topic: String
    let number: Int32

    var partition: LogPartition { LogPartition("\(topic)/\(number)") }
  }

  /// A position to be committed.
  struct Commit: Sendable, Hashable {
    let partition: LogPartition
    let place: Place
    let epoch: Int64
    let offset: Int64
  }

  private struct Partition: Sendable {
    let place: Place
    let epoch: Int64
    var tracker = OffsetTracker()
    /// Where it begins, as soon as that is known.
    var start: Int64?
    var isLeaving = false
  }

  private var partitions: [LogPartition: Partition] = [:]
  private var lastEpoch: Int64 = 0
  /// Read and not handed out yet: given back, or read for somebody who did not wait; of a partition in order.
  private var waiting: Deque<LogMessage> = []
  /// Messages that were handed out again.
  private(set) var redelivered = 0

  /// Begins with none.
  init() {}

  // MARK: Partitions come and go

  /// Partitions are this member's from now on.
  mutating func add(_ places: [Place]) {
    for place in places {
      lastEpoch += 1
      partitions[place.partition] = Partition(place: place, epoch: lastEpoch)
    }
  }

  /// Partitions are to be given up: nothing more of them is handed out, what is in hands may be settled.
  mutating func leave(_ leaving: Set<LogPartition>) {
    for partition in leaving { partitions[partition]?.isLeaving = true }
    waiting.removeAll { leaving.contains($0.partition) }
  }

  /// Partitions are this member's no more.
  mutating func remove(_ gone: Set<LogPartition>) {
    for partition in gone { partitions[partition] = nil }
    waiting.removeAll { gone.contains($0.partition) }
  }

  /// All that are this member's.
  var all: Set<LogPartition> { Set(partitions.keys) }

  /// Whether some of them are to be given up.
  var isLeaving: Bool { partitions.values.contains { $0.isLeaving } }

  /// Their names, in order.
  var names: [String] { partitions.values.map { "\($0.place.topic)/\($0.place.number)" }.sorted() }

  /// Their places.
  var places: [Place] { partitions.values.map(\.place) }

  /// The epoch of a partition whose messages may be handed out.
  func epoch(of partition: LogPartition) -> Int64? {
    partitions[partition].flatMap { $0.isLeaving ? nil : $0.epoch }
  }

  /// Whether a message is this member's to store.
  func owns(_ message: LogMessage) -> Bool {
    partitions[message.partition]?.epoch == message.ticket
  }

  /// Messages of these partitions that are in somebody's hands.
  func outstanding(in some: Set<LogPartition>) -> Int {
    some.reduce(0) { $0 + (partitions[$1]?.tracker.outstanding ?? 0) }
  }

  // MARK: Messages

  /// The end of a partition was reached, behind all of its messages.
  mutating func reachedEnd(of partition: LogPartition, at offset: Int64) {
    if partitions[partition]?.start == nil { partitions[partition]?.start = offset }
  }

  /// Messages are handed out; those that are this member's no more, or somebody has, are left out.
  mutating func handOut(_ messages: [LogMessage]) -> [LogMessage] {
    messages.filter { message in
      guard epoch(of: message.partition) == message.ticket else { return false }
      if partitions[message.partition]?.start == nil { partitions[message.partition]?.start = message.position }
      return partitions[message.partition]?.tracker.handOut(message.position) ?? false
    }
  }

  /// At most so many of those that were read before.
  mutating func takeWaiting(atMost limit: Int) -> [LogMessage] {
    let taken = Array(waiting.prefix(limit))
    waiting.removeFirst(taken.count)
    return taken
  }

  /// Messages were handed out, and somebody has them.
  mutating func count(_ messages: [LogMessage]) {
    redelivered += messages.count { $0.redeliveries > 0 }
  }

  /// Whoever the messages were read for waits no more; the next one gets them.
  mutating func putBack(_ messages: [LogMessage]) {
    _ = giveBack(messages, isRedelivery: false)
  }

  /// Messages are in the sink.
  mutating func acknowledge(_ messages: [LogMessage]) {
    for message in messages where owns(message) {
      partitions[message.partition]?.tracker.acknowledge(message.position)
    }
  }

  /// Messages were not stored; they are handed out again before those that follow.
  ///
  /// - Returns: Whether there are any.
  mutating func giveBack(_ messages: [LogMessage], isRedelivery: Bool = true) -> Bool {
    var again: [LogMessage] = []
    for message in messages where owns(message) {
      guard partitions[message.partition]?.tracker.giveBack(message.position) == true,
        partitions[message.partition]?.isLeaving == false
      else { continue }
      again.append(
        isRedelivery
          ? LogMessage(
            partition: message.partition, position: message.position, stream: message.stream, message: message.message,
            redeliveries: message.redeliveries + 1, ticket: message.ticket)
          : message)
    }
    guard !again.isEmpty else { return false }
    // By position: what is given back in several calls is in order again.
    waiting = Deque(
      (again + waiting).sorted { ($0.position, $0.partition.description) < ($1.position, $1.partition.description) })
    return true
  }

  // MARK: Commits

  /// What is to be committed now, of these partitions or of all.
  func commits(in some: Set<LogPartition>? = nil) -> [Commit] {
    partitions.compactMap { partition, state in
      guard some?.contains(partition) ?? true, let offset = state.tracker.committable else { return nil }
      return Commit(partition: partition, place: state.place, epoch: state.epoch, offset: offset)
    }
  }

  /// The coordinator has taken a commit.
  mutating func succeeded(_ commit: Commit) {
    guard partitions[commit.partition]?.epoch == commit.epoch else { return }
    partitions[commit.partition]?.tracker.commitSucceeded(commit.offset)
  }

  /// Messages that are not acknowledged, given the offset behind the last of each partition; `nil` when one is not known.
  func lag(ends: [Place: Int64]) -> Int? {
    var sum = 0
    for partition in partitions.values {
      guard let position = partition.tracker.position ?? partition.start, let end = ends[partition.place] else {
        return nil
      }
      sum += max(0, Int(end - position))
    }
    return sum
  }

  /// The same of each partition of which it is known.
  func behind(ends: [Place: Int64]) -> [String: Int] {
    var behind: [String: Int] = [:]
    for (name, partition) in partitions {
      guard let position = partition.tracker.position ?? partition.start, let end = ends[partition.place] else {
        continue
      }
      behind[name.description] = max(0, Int(end - position))
    }
    return behind
  }
}
