import DequeModule

@testable import Batching

extension KeyedWorld {
  func digest() -> Digest {
    var digest = Digest()
    // All but the lanes; the machine has no open batch besides.
    machine.digest(into: &digest, now: now)
    digestLanes(into: &digest)
    book.digest(into: &digest)
    // The slots of `run()` are alike, so it does not matter which is which.
    let slots = workers.indices.map(slot)
    for slot in slots.sorted(by: { $0.first < $1.first }) { digest.add(slot) }
    for producer in producers {
      digest.add(producer.call * 64 + producer.sent * 8 + producer.stage.rawValue)
      digest.add(producer.lanes)
      digest.add(cancellationsLeft > 0 || producer.stage == .attaches ? (producer.place ?? -1) : -2)
      digest.add(producer.early.hashed)
    }
    for flusher in flushers {
      digest.add(flusher.waitsFor)
      digest.add(flusher.mayStep ? (flusher.id == nil ? 0 : 1) : 2)
      digest.add(flusher.early.hashed)
    }
    for job in savers {
      digest.add(job.lane)
      digest.add(job.messages)
      for part in job.parts { digest.add(part) }
      digest.add(job.backsOff ? -1 : -2)
      digest.add(job.epoch - machine.epochs.firstUnsettled)
    }
    digest.add(timer.stage.rawValue)
    digest.add(timer.sleepsUntil.map { $0 - now } ?? 1000)
    digest.add(supervisor.stage.rawValue)
    var ends = 0
    for end in endsLeft { ends |= end == .shutdown ? 1 : 2 }
    digest.add(ends + (runHasEnded ? 8 : 0))
    digest.add(ticksLeft)
    digest.add(faultsLeft * 8 + cancellationsLeft)
    digest.add(changesMade * 8 + workersToStart)
    return digest
  }

  private func digestLanes(into digest: inout Digest) {
    let base = machine.epochs.firstUnsettled
    let nextID = machine.senders.nextID
    for number in machine.lanes.numbers {
      let lane = machine.lanes[number]
      digest.add(key(ofLane: number))
      guard lane.key != nil else { continue }
      digest.add(Int(lane.state.rawValue))
      digest.add(lane.held)
      digest.add(lane.pins)
      for batch in [lane.open, lane.closed] + lane.others {
        digest.add(batch.count)
        guard batch.count > 0 else { continue }
        digest.add(batch.due.map { $0.kind.rawValue } ?? -1)
        digest.add(batch.epoch - base)
      }
      if lane.open.count > 0 { digest.add(lane.open.began.whole - now) }
      digest.add((lane.unfinished as? Unfinished).map { $0.epoch - base } ?? -1)
      for id in lane.blocked { digest.add(nextID - id) }
      digest.add(-1)
    }
    digest.add(machine.lanes.unused)
    digest.add(Array(machine.lanes.ready))
    digest.add(machine.lanes.line.map { nextID - $0 })
    digest.add(machine.lanes.blocked)
    for heap in [machine.lanes.lingers, machine.lanes.backOffs] {
      for entry in heap.entries {
        digest.add(Duration(attoseconds: entry.deadline).whole - now)
        digest.add(entry.lane)
      }
      digest.add(-1)
    }
  }

  private func slot(_ index: Int) -> Digest {
    let worker = workers[index]
    var digest = Digest()
    digest.add(worker.stage.rawValue)
    digest.add(worker.wasWoken ? 1 : 0)
    digest.add(machine.workers.parked.firstIndex(of: index) ?? -1)
    digest.add(worker.chain == nil ? 0 : worker.chainCount)
    guard !worker.part.messages.isEmpty else { return digest }
    digest.add(worker.lane)
    digest.add(worker.epoch - machine.epochs.firstUnsettled)
    digest.add(worker.part)
    for part in worker.parts { digest.add(part) }
    digest.add(worker.inFlight * 64 + worker.handled * 2 + (worker.backsOff ? 1 : 0))
    digest.add(worker.failure)
    return digest
  }
}

extension Digest {
  fileprivate mutating func add(_ part: Worker.Part) {
    add(part.messages)
    add(part.isHalf ? 1 : 0)
  }
}

extension Wake? {
  /// A number for each.
  fileprivate var hashed: Int {
    switch self {
    case nil: 0
    case .look: 1
    case .admitted: 2
    case .settled: 3
    case .closed(let admitted): 4 + 2 * admitted
    case .cancelled(let admitted): 5 + 2 * admitted
    }
  }
}
