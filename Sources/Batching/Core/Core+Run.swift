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

extension Core {
  /// One of `concurrency` slots: takes batches and settles them, one after the other.
  private func takeBatches(saver: FailureSaver) async {
    // The last stroke of the bell that it knows of.
    var stroke: UInt32 = 0
    var order = look(&stroke)
    // The array of the batch before, for the next one, if the handler has let go of it.
    var spare: [Message] = []
    // Batches since it was suspended; one it may have been woken for.
    var streak = 0
    while true {
      let isPublished = publish()
      switch order {
      case .take(let taken):
        streak += 1
        var (batch, annotations) = unpack(taken, spare: &spare)
        // A small segment waits for the next visit to the lock; what could be much memory is not held up by the handler.
        var emptied: Segment? = taken.segment
        if taken.segment.capacity * store.stride > Self.smallSegment { giveBack(&emptied) }
        // The usual way of a batch, with one visit to the lock for its end and for the next.
        let count = taken.range.count
        let weight = taken.weight
        let abort = taken.abort ?? (Task.isCancelled ? abortReason() : nil)
        if abort == nil, let metrics { metrics.batchStarted(size: count, after: time.now() - taken.began) }
        let error = abort == nil ? await call(batch, annotations) : nil
        if abort == nil, error == nil {
          if handling.onSettled == nil { store.mover.recycle(&batch, &spare) }
          machine.lock.pointee.lockAsSlot(pause: slotPause)
          order = askHoldingLock { machine, effects in
            if let emptied { machine.segmentEmptied(emptied) }
            machine.attemptEnded(count: count, handled: count, weight: weight, now: time.now(), &effects)
            machine.batchSettled(epoch: taken.epoch, &effects)
            stroke = machine.workers.strokes
            return machine.workerLooks(wasWoken: false)
          }
          handling.onSettled?(batch.contents)
          continue
        }
        giveBack(&emptied)
        let part = Part(batch, annotations)
        let verdict = error.map { judge(part, threw: $0) } ?? giveUp(part, abort)
        let inFlight = taken.abort == nil ? count : 0
        await settle(part, verdict, epoch: taken.epoch, inFlight: inFlight, saver: saver)
        order = look(&stroke)
      case .park where !isPublished:
        // Who parks might be the last for long, so the rest is not left to the next; but a batch comes first.
        order = look(&stroke)
      case .park where streak > 1:
        // One batch came after the other, so the next may be near: not at the price of a suspension for each.
        streak = 1
        bell.wait(after: stroke)
        order = look(&stroke)
      case .park:
        streak = 0
        let wasWoken = await park { $0.workerParks($1) }
        order = look(&stroke, wasWoken: wasWoken)
      case .leave:
        ask { $0.workerLeft(&$1) }
        return
      case .end:
        ask { $0.workerEnded(&$1) }
        return
      }
    }
  }

  /// Looks for a batch, and hears of all strokes of the bell so far.
  @inline(__always)
  private func look(_ stroke: inout UInt32, wasWoken: Bool = false) -> WorkerOrder {
    machine.lock.pointee.lockAsSlot(pause: slotPause)
    return machine.withHeldLock { machine in
      stroke = machine.workers.strokes
      return machine.workerLooks(wasWoken: wasWoken)
    }
  }

  /// What a segment has at most in bytes if it is not given back at once: memory that a handler call holds twice.
  static var smallSegment: Int { 4096 }

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
