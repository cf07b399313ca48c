@testable import Batching

/// What a machine by key has to hold after each event, kept a second time in the plainest way: lists of messages by key.
struct KeyedBook {
  struct Closed {
    var messages: [Int]
    var trigger: Trigger
  }

  enum State: Equatable { case idle, queued, busy, backingOff(until: Int) }

  /// Of one key.
  struct Entry {
    var state = State.idle
    var closed: [Closed] = []
    var open: [Int] = []
    /// When the open batch's first message was accepted.
    var began = 0
    var due: Trigger?
    /// The batch that a slot, the failure handler or a back-off has, until it is settled.
    var underWay: [Int] = []
    /// What is put aside of it.
    var unfinished: Unfinished?
    var held = 0

    var hasWork: Bool { !closed.isEmpty || unfinished != nil || due != nil }
  }

  struct Waiting {
    var producer: Int
    var messages: Range<Int>
    var admitted = 0

    var next: Int { messages.lowerBound + admitted }
  }

  let stage: KeyedStage
  var settings: MachineSettings
  var now = 0
  var phase = Phase.open
  var entries = KeyedScenario.keys.map { _ in Entry() }
  /// Keys that wait for a slot, in their order.
  var line: [Int] = []
  /// Those from here on came at the same moment, in any order.
  var tieFrom: Int?
  var waiting: [Waiting] = []
  var drainDeadline: Int?
  var told: [(waiter: Int, wake: Wake)] = []

  var accepted = 0
  var handled = 0
  var failed = 0
  var held = 0
  var mostHeld = 0
  var rejected = 0
  var inFlight = 0
  var retries = 0
  var batches = [Int](repeating: 0, count: Trigger.Kind.allCases.count)

  init(_ stage: KeyedStage) {
    self.stage = stage
    settings = stage.settings
  }

  var linger: Int { settings.linger.whole }

  var isAborted: Bool { if case .aborted = phase { true } else { false } }

  /// When something is due by itself.
  var deadline: Int? {
    guard phase == .open || phase == .draining else { return nil }
    var deadlines = [drainDeadline].compactMap { $0 }
    for entry in entries {
      if !entry.open.isEmpty, entry.due == nil { deadlines.append(entry.began + linger) }
      if case .backingOff(let until) = entry.state { deadlines.append(until) }
    }
    return deadlines.min()
  }

  // MARK: Who may send

  var hasRoom: Bool { held < settings.capacity }

  /// A batch's worth, or fewer than there is room left.
  func hasShare(_ key: Int) -> Bool {
    entries[key].held < settings.batchSize || entries[key].held < settings.capacity - held
  }

  /// Nobody overtakes one who waits, but those who wait for the share of another key.
  func mayAccept(_ key: Int) -> Bool {
    guard phase == .open, hasRoom, hasShare(key) else { return false }
    return waiting.allSatisfy { sender in
      let other = stage.keys[sender.next]
      return other != key && !hasShare(other)
    }
  }

  /// The one who has waited longest of those who could go.
  var nextSender: Int? {
    guard hasRoom else { return nil }
    return waiting.indices.first { index in
      let key = stage.keys[waiting[index].next]
      return hasShare(key) && !waiting[..<index].contains { stage.keys[$0.next] == key }
    }
  }

  mutating func admit() {
    while let index = nextSender {
      accept(waiting[index].next)
      waiting[index].admitted += 1
      guard waiting[index].admitted == waiting[index].messages.count else { continue }
      told.append((KeyedWorld.name(producer: waiting[index].producer), .admitted))
      waiting.remove(at: index)
    }
  }

  mutating func cancel(producer: Int) {
    guard let index = waiting.firstIndex(where: { $0.producer == producer }) else { return }
    told.append((KeyedWorld.name(producer: producer), .cancelled(admitted: waiting[index].admitted)))
    waiting.remove(at: index)
    admit()
  }

  // MARK: Batches

  mutating func accept(_ message: Int) {
    let key = stage.keys[message]
    if entries[key].open.isEmpty { entries[key].began = now }
    entries[key].open.append(message)
    entries[key].held += 1
    held += 1
    accepted += 1
    if entries[key].open.count >= settings.batchSize {
      close(key, .size)
    } else if linger == 0, entries[key].due == nil {
      entries[key].due = .linger
      schedule(key)
    }
  }

  mutating func close(_ key: Int, _ trigger: Trigger) {
    guard !entries[key].open.isEmpty else { return }
    entries[key].closed.append(Closed(messages: entries[key].open, trigger: entries[key].due ?? trigger))
    entries[key].open = []
    entries[key].due = nil
    schedule(key)
  }

  mutating func closeAll(_ trigger: Trigger) {
    tieFrom = tieFrom ?? line.count
    for key in entries.indices { close(key, trigger) }
  }

  mutating func schedule(_ key: Int) {
    guard entries[key].state == .idle, entries[key].hasWork else { return }
    entries[key].state = .queued
    line.append(key)
  }

  /// The key that is next, and the batch that a slot gets of it; `nil` if that goes on with what was put aside.
  mutating func take() -> (key: Int, batch: Closed?)? {
    guard !line.isEmpty else { return nil }
    let key = line.removeFirst()
    entries[key].state = .busy
    if entries[key].unfinished != nil { return (key, nil) }
    if entries[key].closed.isEmpty, let due = entries[key].due {
      entries[key].closed = [Closed(messages: entries[key].open, trigger: due)]
      entries[key].open = []
      entries[key].due = nil
    }
    let batch = entries[key].closed.removeFirst()
    entries[key].underWay = batch.messages
    if !isAborted {
      inFlight += batch.messages.count
      batches[batch.trigger.kind.rawValue] += 1
    }
    return (key, batch)
  }

  mutating func left(_ key: Int, _ count: Int) {
    entries[key].held -= count
    held -= count
    admit()
  }

  mutating func settled(_ key: Int) {
    entries[key].underWay = []
    entries[key].state = .idle
    schedule(key)
  }

  mutating func yields(_ key: Int, _ unfinished: Unfinished, until: Int?) {
    entries[key].unfinished = unfinished
    if let until, !isAborted {
      entries[key].state = .backingOff(until: until)
    } else {
      entries[key].state = .idle
      schedule(key)
    }
  }

  // MARK: Time and the end

  mutating func timerFired() {
    guard let deadline, deadline <= now else { return }
    if let drainDeadline, drainDeadline <= now { return abort(.drainTimedOut) }
    tieFrom = line.count
    for key in entries.indices {
      if !entries[key].open.isEmpty, entries[key].due == nil, entries[key].began + linger <= now {
        entries[key].due = .linger
        schedule(key)
      }
      if case .backingOff(let until) = entries[key].state, until <= now { endBackOff(key) }
    }
  }

  private mutating func endBackOff(_ key: Int) {
    entries[key].state = .idle
    schedule(key)
  }

  mutating func shutDown(isRunning: Bool) {
    guard phase == .open else { return }
    stopAccepting(.draining)
    if isRunning { drainDeadline = stage.scenario.drainTimeout.map { now + $0 } }
  }

  mutating func abort(_ reason: AbortReason) {
    guard phase == .open || phase == .draining else { return }
    stopAccepting(.aborted(reason))
    for key in entries.indices { if case .backingOff = entries[key].state { endBackOff(key) } }
  }

  private mutating func stopAccepting(_ phase: Phase) {
    closeAll(.shutdown)
    self.phase = phase
    for sender in waiting {
      rejected += 1
      told.append((KeyedWorld.name(producer: sender.producer), .closed(admitted: sender.admitted)))
    }
    waiting = []
  }

  mutating func reconfigure(_ change: Scenario.Change) {
    settings.batchSize = change.batchSize
    settings.capacity = change.capacity
    settings.concurrency = change.workers
    settings.linger = .seconds(change.linger)
    mostHeld = held
    tieFrom = line.count
    for key in entries.indices {
      if entries[key].open.count >= settings.batchSize { close(key, .size) }
      entries[key].closed = entries[key].closed.flatMap { whole in
        stride(from: 0, to: whole.messages.count, by: settings.batchSize).map { start in
          let end = min(start + settings.batchSize, whole.messages.count)
          return Closed(messages: Array(whole.messages[start..<end]), trigger: whole.trigger)
        }
      }
      if !entries[key].open.isEmpty, entries[key].due == nil, entries[key].began + linger <= now {
        entries[key].due = .linger
        schedule(key)
      }
    }
    admit()
  }

  func digest(into digest: inout Digest) {
    for entry in entries {
      for batch in entry.closed { digest.add(batch.messages) }
      digest.add(entry.open)
      digest.add(entry.underWay)
      for part in entry.unfinished?.parts ?? [] {
        digest.add(part.messages)
        digest.add(part.isHalf ? 1 : 0)
      }
      digest.add(-1)
    }
    for sender in waiting {
      digest.add(sender.messages.lowerBound)
      digest.add(sender.messages.upperBound)
    }
    digest.add(-1)
  }
}

/// What is left of a batch, which the machine keeps and cannot look into; the next part last.
final class Unfinished {
  let parts: [Worker.Part]
  let epoch: Int

  init(_ parts: [Worker.Part], epoch: Int) {
    self.parts = parts
    self.epoch = epoch
  }
}
