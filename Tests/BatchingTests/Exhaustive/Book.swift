@testable import Batching

/// What the machine has to hold after each event, kept a second time in the plainest way: lists of messages.
///
/// It says what is in which batch, who was accepted when, who must have been told what, and what the ledger must be.
struct Book {
  struct Closed: Equatable {
    var messages: [Int]
    /// When each was accepted.
    var arrivals: [Int]
    var trigger: Trigger
    /// Whether a flush waits for it.
    var isFlushed = false
  }

  struct Waiting {
    var producer: Int
    var messages: Range<Int>
    var admitted = 0
  }

  let stage: Stage
  var settings: MachineSettings
  var now = 0
  var phase = Phase.open

  var closed: [Closed] = []
  var open: [Int] = []
  /// When each message of the open batch was accepted.
  var arrivals: [Int] = []
  /// What has made the open batch due.
  var openDue: Trigger?
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
  var cancelled = 0
  var held = 0
  var heldWeight = 0
  var rejected = 0
  var inFlight = 0
  var retries = 0
  var batches = [Int](repeating: 0, count: Trigger.Kind.allCases.count)

  /// What is held beyond a capacity that has become smaller.
  var mostHeld = 0

  init(_ stage: Stage) {
    self.stage = stage
    settings = stage.settings
  }

  var linger: Int { settings.linger.whole }

  func weight(_ message: Int) -> Int { stage.isWeighted ? stage.weights[message] : 0 }

  /// When something is due by itself.
  var deadline: Int? {
    switch phase {
    case .open: open.isEmpty || openDue != nil ? nil : arrivals[0] + linger
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
    } else if linger == 0, openDue == nil {
      openDue = .linger
    }
  }

  mutating func close(_ trigger: Trigger) {
    guard !open.isEmpty else { return }
    closed.append(Closed(messages: open, arrivals: arrivals, trigger: openDue ?? trigger))
    forgetOpen()
  }

  private mutating func forgetOpen() {
    open = []
    arrivals = []
    openDue = nil
  }

  private mutating func pushOut() {
    let message: Int
    if !closed.isEmpty {
      message = closed[0].messages.removeFirst()
      closed[0].arrivals.removeFirst()
      if closed[0].messages.isEmpty { closed.removeFirst() }
    } else {
      message = open.removeFirst()
      arrivals.removeFirst()
      firstLeftOpen()
    }
    dropped.append(message)
    held -= 1
    heldWeight -= weight(message)
    droppedCount += 1
  }

  /// The next message is the first now, and linger counts from its arrival.
  private mutating func firstLeftOpen() {
    if open.isEmpty { return forgetOpen() }
    if openDue == nil || openDue == .linger { openDue = arrivals[0] + linger <= now ? .linger : nil }
  }

  /// A caller takes its request back; whether its batch has not started.
  mutating func withdraw(_ message: Int) -> Bool {
    if let place = open.firstIndex(of: message) {
      open.remove(at: place)
      arrivals.remove(at: place)
      firstLeftOpen()
    } else if let index = closed.firstIndex(where: { $0.messages.contains(message) }) {
      closed[index].arrivals.remove(at: closed[index].messages.firstIndex(of: message) ?? 0)
      closed[index].messages.removeAll { $0 == message }
      if closed[index].messages.isEmpty { closed.remove(at: index) }
      reopenLast()
    } else {
      return false
    }
    held -= 1
    cancelled += 1
    heldWeight -= weight(message)
    admit()
    return true
  }

  /// The newest batch has room again, and grows until a slot takes it, unless it must not.
  private mutating func reopenLast() {
    guard phase == .open, open.isEmpty, let last = closed.last, last.messages.count < settings.batchSize,
      last.trigger == .size || last.trigger == .linger, !last.isFlushed
    else { return }
    closed.removeLast()
    open = last.messages
    arrivals = last.arrivals
    openDue = last.trigger
  }

  /// Somebody flushes: all that is held is to be settled.
  mutating func flush() {
    close(.flush)
    for index in closed.indices { closed[index].isFlushed = true }
  }

  /// Sizes and times have changed.
  mutating func reconfigure(_ change: Scenario.Change) {
    settings.batchSize = change.batchSize
    settings.capacity = change.capacity
    settings.concurrency = change.workers
    settings.linger = .seconds(change.linger)
    mostHeld = held
    if open.count >= settings.batchSize { close(.size) }
    closed = closed.flatMap { whole in
      stride(from: 0, to: whole.messages.count, by: settings.batchSize).map { start in
        let range = start..<min(start + settings.batchSize, whole.messages.count)
        var part = whole
        part.messages = Array(whole.messages[range])
        part.arrivals = Array(whole.arrivals[range])
        return part
      }
    }
    if !open.isEmpty, openDue == nil, arrivals[0] + linger <= now { openDue = .linger }
    admit()
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
    if phase == .draining { abort(.drainTimedOut) } else { openDue = .linger }
  }

  /// The batch that a worker has to get now.
  mutating func take() -> Closed? {
    if closed.isEmpty, openDue != nil { close(.linger) }
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
    // The arrival of the first is in the machine's deadline; the others' count only where the first can leave alone.
    if settings.keepsArrivals {
      for arrival in arrivals { digest.add(arrival - now) }
    }
    if settings.canBeWithdrawn {
      for batch in closed {
        for arrival in batch.arrivals { digest.add(arrival - now) }
        digest.add(batch.isFlushed ? 1 : 0)
      }
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
