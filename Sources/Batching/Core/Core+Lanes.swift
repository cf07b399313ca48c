/// What is left of a batch of one key after a failed attempt: what a slot goes on with when it is the lane's turn again.
private final class Unfinished<Message: Sendable>: Sendable {
  /// The next one last.
  let parts: [Part<Message>]
  let epoch: Int

  init(_ parts: [Part<Message>], epoch: Int) {
    self.parts = parts
    self.epoch = epoch
  }
}

// MARK: - Workers

extension Core {
  /// One of `concurrency` slots of a by-key aggregator.
  ///
  /// Unlike one of an `Aggregator`, it does not stay with a batch to its end: after a failed attempt it puts what is left
  /// aside, and goes on with another key.
  func takeLanes(saver: FailureSaver) async {
    // The last stroke of the bell that it knows of.
    var stroke: UInt32 = 0
    var order = lookForLane(&stroke)
    // The array of the batch before, for the next one, if the handler has let go of it.
    var spare: [Message] = []
    // Batches since it was suspended, as in `takeBatches`.
    var streak = 0
    while true {
      let isPublished = publish()
      switch order {
      case .take(let taken):
        streak += 1
        var (batch, annotations) = unpack(taken, spare: &spare)
        var emptied: Chain? = taken.chain
        if taken.count * store.stride > Segment.mostBytesOfSmallOnes { giveBack(&emptied) }
        let abort = taken.abort ?? (Task.isCancelled ? abortReason() : nil)
        if abort == nil, let metrics { metrics.batchStarted(size: taken.count, after: time.now() - taken.began) }
        let error = abort == nil ? await call(batch, annotations) : nil
        if abort == nil, error == nil {
          store.mover.recycle(&batch, &spare)
          order = ask { machine, effects in
            if let emptied { machine.lanes.nodes.give(emptied) }
            machine.laneAttemptEnded(
              taken.lane, count: taken.count, handled: taken.count, weight: taken.weight, now: time.now(), &effects)
            machine.laneSettled(taken.lane, epoch: taken.epoch, &effects)
            stroke = machine.workers.strokes
            return machine.laneWorkerLooks(wasWoken: false, &effects)
          }
          continue
        }
        giveBack(&emptied)
        let part = Part(batch, annotations)
        let verdict = error.map { judge(part, threw: $0) } ?? giveUp(part, abort)
        proceed(
          with: verdict, inFlight: taken.abort == nil ? taken.count : 0, before: [], lane: taken.lane,
          epoch: taken.epoch,
          saver: saver)
        order = lookForLane(&stroke)
      case .resume(let lane, let object):
        let unfinished = unsafeDowncast(object, to: Unfinished<Message>.self)
        var parts = unfinished.parts
        let part = parts.removeLast()
        let abort =
          Task.isCancelled
          ? abortReason()
          : machine.withLock { $0.attemptBegan(count: part.messages.count, isHalf: part.isHalf) }
        let verdict: Verdict<Message>
        if abort != nil {
          verdict = giveUp(part, abort)
        } else {
          publish()
          verdict = await call(part.batch, part.annotations).map { judge(part, threw: $0) } ?? Verdict(handled: part)
        }
        proceed(
          with: verdict, inFlight: abort == nil ? part.messages.count : 0, before: parts, lane: lane,
          epoch: unfinished.epoch,
          saver: saver)
        order = lookForLane(&stroke)
      case .park where !isPublished:
        order = lookForLane(&stroke)
      case .park where streak > 1:
        streak = 1
        bell.wait(after: stroke)
        order = lookForLane(&stroke)
      case .park:
        streak = 0
        let wasWoken = await park { $0.laneWorkerParks($1) }
        order = lookForLane(&stroke, wasWoken: wasWoken)
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
  private func lookForLane(_ stroke: inout UInt32, wasWoken: Bool = false) -> LaneOrder {
    ask { machine, effects in
      stroke = machine.workers.strokes
      return machine.laneWorkerLooks(wasWoken: wasWoken, &effects)
    }
  }

  private func giveBack(_ emptied: inout Chain?) {
    guard let chain = emptied.take() else { return }
    machine.withLock { $0.lanes.nodes.give(chain) }
  }

  /// Moves the messages of a taken batch out of their nodes, outside the lock.
  private func unpack(_ taken: TakenLane, spare: inout [Message]) -> (Batch<Message>, Annotations) {
    var weights: [Int]?
    if weight != nil {
      var node = taken.chain.newest
      let newestFirst = (0..<taken.count).map { index in
        if index > 0 { node = node.older }
        return node.tag.weight
      }
      weights = newestFirst.reversed()
    }
    let (messages, contexts) = store.take(taken, spare: &spare)
    let batch = Batch(messages: messages, trigger: taken.trigger, sequenceNumber: taken.sequenceNumber)
    return (batch, Annotations(weights: weights, contexts: contexts))
  }

  /// Does as the verdict on an attempt says, without waiting: the failure handler runs elsewhere, and what is tried again waits
  /// in its lane.
  private func proceed(
    with verdict: Verdict<Message>, inFlight: Int, before parts: [Part<Message>], lane: Int, epoch: Int,
    saver: FailureSaver
  ) {
    ask {
      $0.laneAttemptEnded(
        lane, count: inFlight, handled: verdict.handled, weight: verdict.handledWeight, now: time.now(), &$1)
    }
    publish()
    for part in verdict.next {
      reporter.willRetry(
        messages: part.messages.count, attempt: part.attempt - 1, sequenceNumber: part.sequenceNumber,
        isHalf: part.isHalf, error: part.lastError, after: verdict.backOff)
    }
    let rest = parts + verdict.next.reversed()
    let backOff = verdict.next.isEmpty ? .zero : verdict.backOff
    guard let failure = verdict.failure else { return proceed(to: rest, after: backOff, lane: lane, epoch: epoch) }
    report(failure)
    let weight = verdict.failureWeight
    guard let onFailure = handling.onFailure else {
      return saved(failure, weight: weight, rest: rest, after: backOff, lane: lane, epoch: epoch)
    }
    // The slot is free meanwhile, and the lane is not.
    saver.submit {
      await onFailure(failure)
      self.saved(failure, weight: weight, rest: rest, after: backOff, lane: lane, epoch: epoch)
    }
  }

  private func saved(
    _ failure: BatchFailure<Message>, weight: Int, rest: [Part<Message>], after backOff: Duration, lane: Int, epoch: Int
  ) {
    ask { $0.laneFailuresSaved(lane, count: failure.items.count, weight: weight, now: time.now(), &$1) }
    publish()
    proceed(to: rest, after: backOff, lane: lane, epoch: epoch)
  }

  /// Ends a batch, or puts aside what is left of it.
  private func proceed(to parts: [Part<Message>], after backOff: Duration, lane: Int, epoch: Int) {
    guard !parts.isEmpty else { return ask { $0.laneSettled(lane, epoch: epoch, &$1) } }
    let until = backOff > .zero ? time.now() + backOff : nil
    ask { $0.laneYields(lane, Unfinished(parts, epoch: epoch), until: until, &$1) }
  }

  /// Destroys all messages in lanes.
  func destroyLanes(_ machine: inout Machine<Continuation>, _ effects: inout Effects<Continuation>) {
    guard isKeyed else { return }
    while case .take(let taken) = machine.laneWorkerLooks(wasWoken: false, &effects) {
      taken.forEachSlot { store.destroy(0..<1, of: $0) }
      machine.laneAttemptEnded(
        taken.lane, count: taken.count, handled: taken.count, weight: taken.weight, now: .zero, &effects)
      machine.laneSettled(taken.lane, epoch: taken.epoch, &effects)
    }
  }
}
