@testable import Batching

/// What the machine has to hold after each event, kept a second time in the plainest way: lists of messages.
///
/// It says what is in which batch, who was accepted when, who must have been told what, and what the ledger must be.
struct Book {
  struct Closed: Equatable {
    var messages: [Int]
    var trigger: Trigger
  }

  struct Waiting {
    var producer: Int
    var messages: Range<Int>
    var admitted = 0
  }

  let stage: Stage
  var now = 0
  var phase = Phase.open

  var closed: [Closed] = []
  var open: [Int] = []
  /// When each message of the open batch was accepted.
  var arrivals: [Int] = []
  var openIsDue = false
  var dropped: [Int] = []
  /// Pushed-out messages that the failure handler has.
  var saving: [Int] = []
  var waiting: [Waiting] = []
  var drainDeadline: Int?
  /// Who must have been told what by the event that is looked at.
  var told: [(waiter: Int, wake: Wake)] = []

  var accepted = 0
  var handled = 0
  var failed = 0
  var droppedCount = 0
  var held = 0
  var heldWeight = 0
  var rejected = 0
  var inFlight = 0
  var retries = 0
  var batches = [Int](repeating: 0, count: Trigger.Kind.allCases.count)

  init(_ stage: Stage) {
    self.stage = stage
  }

  var settings: MachineSettings { stage.settings }
  var linger: Int { stage.scenario.linger }

  func weight(_ message: Int) -> Int { stage.isWeighted ? stage.weights[message] : 0 }

  /// When something is due by itself.
  var deadline: Int? {
    switch phase {
    case .open: open.isEmpty || openIsDue ? nil : arrivals[0] + linger
    case .draining: drainDeadline
    case .aborted, .done: nil
    }
  }

  func hasRoom(_ weight: Int) -> Bool {
    held < settings.capacity && (!stage.isWeighted || weight <= settings.maximumHeldWeight - heldWeight)
  }

  /// How many of the oldest have to be pushed out; `nil` if it must not be done.
  func victims(_ weight: Int) -> Int? {
    var count = 0
    var held = held
    var freed = 0
    for message in closed.flatMap({ $0.messages }) + open {
      if held < settings.capacity, !stage.isWeighted || weight <= settings.maximumHeldWeight - heldWeight + freed {
        break
      }
      count += 1
      held -= 1
      freed += self.weight(message)
    }
    let fits =
      held < settings.capacity && (!stage.isWeighted || weight <= settings.maximumHeldWeight - heldWeight + freed)
    return fits && count <= settings.capacity - dropped.count - saving.count ? count : nil
  }

  /// Whether a message must be refused for want of room.
  func isFull(_ weight: Int) -> Bool {
    if !waiting.isEmpty { return true }
    if hasRoom(weight) { return false }
    return !settings.dropsOldest || victims(weight) == nil
  }

  /// Messages are accepted, and lie side by side in one batch.
  mutating func accept(_ message: Int, count: Int = 1) {
    let weight = weight(message)
    if settings.dropsOldest {
      for _ in 0..<(victims(weight) ?? 0) { pushOut() }
    }
    if !open.isEmpty, stage.isWeighted, weight > settings.maximumBatchWeight - stage.weight(open) { close(.weight) }
    for offset in 0..<count {
      open.append(message + offset)
      arrivals.append(now)
    }
    accepted += count
    held += count
    heldWeight += weight
    if open.count >= settings.batchSize {
      close(.size)
    } else if stage.isWeighted, stage.weight(open) >= settings.maximumBatchWeight {
      close(.weight)
    } else if linger == 0 {
      openIsDue = true
    }
  }

  mutating func close(_ trigger: Trigger) {
    guard !open.isEmpty else { return }
    closed.append(Closed(messages: open, trigger: openIsDue ? .linger : trigger))
    forgetOpen()
  }

  private mutating func forgetOpen() {
    open = []
    arrivals = []
    openIsDue = false
  }

  private mutating func pushOut() {
    let message: Int
    if !closed.isEmpty {
      message = closed[0].messages.removeFirst()
      if closed[0].messages.isEmpty { closed.removeFirst() }
    } else {
      message = open.removeFirst()
      arrivals.removeFirst()
      if open.isEmpty { forgetOpen() } else { openIsDue = arrivals[0] + linger <= now }
    }
    dropped.append(message)
    held -= 1
    heldWeight -= weight(message)
    droppedCount += 1
  }

  /// Messages are settled, and their room goes to those who wait.
  mutating func left(_ messages: [Int]) {
    held -= messages.count
    heldWeight -= stage.weight(messages)
    admit()
  }

  mutating func admit() {
    while !waiting.isEmpty {
      let next = waiting[0].messages.lowerBound + waiting[0].admitted
      guard hasRoom(weight(next)) else { return }
      let count =
        settings.isTagged
        ? 1 : min(waiting[0].messages.upperBound - next, settings.capacity - held, settings.batchSize - open.count)
      accept(next, count: count)
      waiting[0].admitted += count
      if waiting[0].admitted == waiting[0].messages.count {
        told.append((World.name(producer: waiting[0].producer), .admitted))
        waiting.removeFirst()
      }
    }
  }

  /// A sender's cancellation: nothing if it is not in line any more.
  mutating func cancel(producer: Int) {
    guard let index = waiting.firstIndex(where: { $0.producer == producer }) else { return }
    told.append((World.name(producer: producer), .cancelled(admitted: waiting[index].admitted)))
    waiting.remove(at: index)
    admit()
  }

  mutating func shutDown(isRunning: Bool) {
    guard phase == .open else { return }
    stopAccepting(.draining)
    if isRunning { startDrainTimeout() }
  }

  mutating func startDrainTimeout() {
    drainDeadline = stage.scenario.drainTimeout.map { now + $0 }
  }

  mutating func abort(_ reason: AbortReason) {
    guard phase == .open || phase == .draining else { return }
    stopAccepting(.aborted(reason))
  }

  private mutating func stopAccepting(_ phase: Phase) {
    close(.shutdown)
    self.phase = phase
    for sender in waiting {
      rejected += 1
      told.append((World.name(producer: sender.producer), .closed(admitted: sender.admitted)))
    }
    waiting = []
  }

  /// The timer has looked whether something is due.
  mutating func timerFired() {
    guard let deadline, deadline <= now else { return }
    if phase == .draining { abort(.drainTimedOut) } else { openIsDue = true }
  }

  /// The batch that a worker has to get now.
  mutating func take() -> Closed? {
    if closed.isEmpty, openIsDue { close(.linger) }
    guard let batch = closed.first else { return nil }
    closed.removeFirst()
    if phase == .open || phase == .draining {
      inFlight += batch.messages.count
      batches[batch.trigger.kind.rawValue] += 1
    }
    return batch
  }

  func digest(into digest: inout Digest) {
    digest.add(closed.count)
    for batch in closed { digest.add(batch.messages) }
    digest.add(open)
    // The arrival of the first is in the machine's deadline; the others' count only where the first can be pushed out.
    if settings.dropsOldest {
      for arrival in arrivals { digest.add(arrival - now) }
    }
    digest.add(dropped)
    for sender in waiting {
      digest.add(sender.messages.lowerBound)
      digest.add(sender.messages.upperBound)
    }
    digest.add(-1)
  }
}

extension Digest {
  mutating func add(_ messages: [Int]) {
    add(messages.count)
    for message in messages { add(message) }
  }
}
