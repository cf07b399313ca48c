import ServiceLifecycle

extension Core {
  /// Works until the end.
  ///
  /// As a service it is shut down by the graceful shutdown of the group that it is in.
  func run(asService: Bool) async throws {
    guard let workers = machine.withLock({ $0.runBegan(now: time.now()) ? $0.workers.running : nil }) else {
      throw AggregatorError.alreadyRun
    }
    reporter.runBegan()
    guard asService else { return try await work(workers) }
    try await withGracefulShutdownHandler {
      try await work(workers)
    } onGracefulShutdown: {
      self.shutdown()
    }
  }

  /// Children take batches, one keeps time, and this task supervises them.
  private func work(_ workers: Int) async throws {
    let saver = FailureSaver(
      executor: withUnsafeCurrentTask { $0?.unownedTaskExecutor?.asTaskExecutor() },
      // One for each slot, and one for what is pushed out.
      concurrency: { self.tuning.concurrency + 1 })
    await withDiscardingTaskGroup { group in
      group.addTask { await self.keepTime() }
      startWorkers(workers, in: &group, saver: saver)
      // Inside the group, so that the machine hears of a cancellation before the children do.
      await withTaskCancellationHandler {
        while let order = await nextOrder() {
          switch order {
          case .saveDrops where discardsDrops: discardDrops()
          case .saveDrops: saver.submit { await self.saveDrops() }
          case .startWorkers(let count): startWorkers(count, in: &group, saver: saver)
          case .cancelHandlers:
            group.cancelAll()
            reportDrainTimeOut()
          }
        }
      } onCancel: {
        ask { $0.abort(.runCancelled, &$1) }
      }
    }
    await saver.finish()
    machine.withLock { $0.runEnded() }
    await metrics?.publishLast(totals)
    reporter.runEnded(totals())
    if Task.isCancelled { throw CancellationError() }
  }

  private func startWorkers(_ count: Int, in group: inout DiscardingTaskGroup, saver: FailureSaver) {
    for _ in 0..<count {
      group.addTask {
        if self.isKeyed { await self.takeLanes(saver: saver) } else { await self.takeBatches(saver: saver) }
      }
    }
  }

  private func reportDrainTimeOut() {
    let (reason, held, inFlight) = machine.withLock { ($0.abortReason, $0.ledger.held, $0.ledger.inFlight) }
    if reason == .drainTimedOut { reporter.drainTimedOut(held: held, inFlight: inFlight) }
  }

  private func nextOrder() async -> SupervisorOrder? {
    while true {
      switch machine.withLock({ $0.supervisorLooks() }) {
      case .act(let order): return order
      case .park: _ = await park { $0.supervisorParks($1) }
      case .end: return nil
      }
    }
  }

  /// The one timer.
  func keepTime() async {
    while true {
      switch machine.withLock({ $0.timerLooks() }) {
      case .sleep(let deadline): await sleep(until: deadline)
      case .park: _ = await park { $0.timerParks($1) }
      case .end: return
      }
    }
  }

  /// Sleeps, in a child that can be cancelled, until the deadline is there or the machine has an earlier one.
  private func sleep(until deadline: Duration) async {
    await withDiscardingTaskGroup { group in
      group.addTask {
        do {
          try await self.time.sleep(until: deadline)
        } catch {
          if Task.isCancelled { return }
        }
        self.ask { $0.timerFired(now: self.time.now(), &$1) }
      }
      _ = await park { $0.timerSleeps($1) }
      group.cancelAll()
    }
  }
}

// MARK: - Workers

/// What a slot knows from one batch to the next.
private struct Slot {
  /// The last stroke of the bell that it has heard of.
  var stroke: UInt32 = 0
  /// Batches since it was suspended; one it may have been woken for.
  var streak = 0
  /// Where it finds batches without the lock, if it attends to the inbox.
  var reader: InboxReader?
}

extension Core {
  /// One of `concurrency` slots: takes batches and settles them, one after the other.
  private func takeBatches(saver: FailureSaver) async {
    var slot = Slot()
    var order = look(&slot)
    // The array of the batch before, for the next one, if the handler has let go of it.
    var spare: [Message] = []
    while true {
      let isPublished = publish()
      switch order {
      case .take(let taken):
        slot.streak += 1
        var (batch, annotations) = unpack(taken, spare: &spare)
        // A small segment waits for the end of its batch; what could be much memory is not held up by the handler.
        var emptied: Segment? = taken.segment
        if !taken.segment.isSmall(stride: store.stride) { giveBack(&emptied) }
        let count = taken.range.count
        let weight = taken.weight
        let abort = taken.abort ?? (Task.isCancelled ? abortReason() : nil)
        if abort == nil, let metrics { metrics.batchStarted(size: count, after: time.now() - taken.began) }
        let error = abort == nil ? await call(batch, annotations) : nil
        if abort == nil, error == nil {
          // The usual way of a batch: no visit to the lock, or one for its end and for the next.
          if handling.onSettled == nil { store.mover.recycle(&batch, &spare) }
          if let next = slot.reader?.batchEnded() {
            order = goOn(with: next, &slot)
            continue
          }
          order = look(&slot) { machine, effects in
            if let emptied { machine.segmentEmptied(emptied) }
            machine.attemptEnded(count: count, handled: count, weight: weight, now: time.now(), &effects)
            machine.batchSettled(epoch: taken.epoch, &effects)
          }
          handling.onSettled?(batch.contents)
          continue
        }
        leaveInbox(&slot)
        giveBack(&emptied)
        let part = Part(batch, annotations)
        let verdict = error.map { judge(part, threw: $0) } ?? giveUp(part, abort)
        let inFlight = taken.abort == nil ? count : 0
        await settle(part, verdict, epoch: taken.epoch, inFlight: inFlight, saver: saver)
        order = look(&slot)
      case .park where !isPublished:
        // Who parks might be the last for long, so the rest is not left to the next; but a batch comes first.
        order = look(&slot)
      case .park where slot.reader != nil:
        order = goOn(with: .wait, &slot)
      case .park where slot.streak > 1:
        // One batch came after the other, so the next may be near: not at the price of a suspension for each.
        slot.streak = 1
        bell.wait(after: slot.stroke)
        order = look(&slot)
      case .park:
        slot.streak = 0
        let wasWoken = await park { $0.workerParks($1) }
        order = look(&slot, wasWoken: wasWoken)
      case .leave:
        ask { $0.workerLeft(&$1) }
        return
      case .end:
        ask { $0.workerEnded(&$1) }
        return
      }
    }
  }

  /// Goes on without the lock while there is something in the inbox, or may soon be.
  private func goOn(with next: InboxReader.Order, _ slot: inout Slot) -> WorkerOrder {
    var next = next
    if case .wait = next {
      // As above.
      Bell.lookOut {
        next = slot.reader?.look() ?? .come
        if case .wait = next { return false }
        return true
      }
      if case .wait = next { slot.streak = 1 }
    }
    if case .start(let batch) = next { return .take(batch) }
    return look(&slot)
  }

  /// Looks for a batch, after what else there is to say, and hears of all strokes of the bell so far.
  @inline(__always)
  private func look(
    _ slot: inout Slot, wasWoken: Bool = false,
    after event: (inout Machine<Continuation>, inout Effects<Continuation>) -> Void = { _, _ in }
  ) -> WorkerOrder {
    machine.lock.pointee.lockAsSlot(pause: slotPause)
    return askHoldingLock { machine, effects in
      event(&machine, &effects)
      if slot.reader != nil { machine.slotComes(now: time.now(), &effects) }
      slot.stroke = machine.workers.strokes
      let order = machine.workerLooks(wasWoken: wasWoken)
      slot.reader = nil
      if machine.slotMayAttend {
        switch order {
        // Not where batches are so rare that it was suspended before this one.
        case .take(let batch) where slot.streak > 0: slot.reader = machine.slotAttends(with: batch)
        case .park where slot.streak > 1: slot.reader = machine.slotAttends(with: nil)
        case .take, .park, .leave, .end: break
        }
      }
      return order
    }
  }

  /// Comes to the lock with a batch that has not ended.
  private func leaveInbox(_ slot: inout Slot) {
    guard slot.reader != nil else { return }
    slot.reader = nil
    ask { $0.slotComes(now: time.now(), &$1) }
  }

  private func giveBack(_ emptied: inout Segment?) {
    guard let segment = emptied.take() else { return }
    machine.withLock { $0.segmentEmptied(segment) }
  }

  /// Moves the messages of a taken batch out of its segment, outside the lock.
  ///
  /// `spare` is an empty array whose memory they may have.
  private func unpack(_ taken: TakenBatch, spare: inout [Message]) -> (Batch<Message>, Annotations) {
    let range = taken.range
    let (messages, contexts) = store.take(range, of: taken.segment.base, spare: &spare)
    var weights: [Int]?
    if weight != nil, let tags = taken.segment.tags { weights = range.map { tags[$0].weight } }
    let batch = Batch(messages: messages, trigger: taken.trigger, sequenceNumber: taken.sequenceNumber)
    return (batch, Annotations(weights: weights, contexts: contexts))
  }
}

extension Core {
  /// The same where nothing is kept beside the messages.
  func unpack(_ taken: TakenBatch) -> Batch<Message> {
    var spare: [Message] = []
    return unpack(taken, spare: &spare).0
  }
}

// MARK: - Drops

extension Core {
  /// Gives pushed-out messages to the failure handler until there are none.
  private func saveDrops() async {
    while let (taken, failure) = takeDrops() {
      for (drops, failure) in parts(of: taken, failure) {
        await handling.onFailure?(failure)
        ask { $0.dropsSaved(drops, &$1) }
        handling.onSettled?(failure.messages)
      }
    }
  }

  /// By key, where there are keys.
  private func parts(
    of taken: TakenDrops, _ failure: BatchFailure<Message>
  ) -> [(TakenDrops, BatchFailure<Message>)] {
    let groups = handling.grouping?(failure.messages) ?? []
    guard groups.count > 1 else { return [(taken, failure)] }
    return groups.map { offsets in
      let number = machine.withLock { $0.listMade() }
      return (
        taken.part(offsets, number: number),
        BatchFailure(
          items: offsets.map { failure.items[$0] }, error: failure.error, attempts: failure.attempts,
          sequenceNumber: number)
      )
    }
  }

  /// Lets go of pushed-out messages that nobody wants to save.
  func discardDrops() {
    while let (taken, _) = takeDrops() {
      ask { $0.dropsSaved(taken, &$1) }
    }
  }

  private func takeDrops() -> (TakenDrops, BatchFailure<Message>)? {
    let (drops, total) = machine.withLock { ($0.dropsTaken(), $0.ledger.dropped) }
    guard let drops else { return nil }
    if handling.onFailure == nil { reporter.dropped(drops.count, total: total) }
    publishForSender()
    let messages = store.take(0..<drops.count, of: drops.segment.base)
    drops.segment.free()
    return (
      drops,
      BatchFailure(
        messages: messages, error: AggregatorError.dropped, attempts: 0, sequenceNumber: drops.sequenceNumber)
    )
  }
}
