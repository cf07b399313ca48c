/// One iteration of a base sequence in batches: the machine of an aggregator, whose only sender is a task that reads the base,
/// and whose only worker is the consumer.
///
/// A batch counts as settled when the consumer has it. As the capacity is one batch, the task stops to read when a whole one waits.
final class Reading<Base: AsyncSequence & Sendable>: Sendable where Base.Element: Sendable {
  private let base: Base
  private let feed: Feed<Base.Element, Base.Failure>
  private let task = Guarded(Task<Void, Never>?.none)

  init(_ base: Base, size: Int, linger: Duration, clock: any Clock<Duration>) {
    self.base = base
    feed = Feed(size: size, linger: linger, clock: clock)
  }

  deinit {
    cancel()
    feed.abandon()
  }

  func next() async throws(Base.Failure) -> Batch<Base.Element>? {
    begin()
    if Task.isCancelled { cancel() }
    return try await feed.next { self.cancel() }
  }

  private func cancel() {
    task.withLock { $0 }?.cancel()
  }

  /// The first that asks for a batch starts the reading.
  private func begin() {
    guard feed.begins() else { return }
    // It holds the feed and not this object, whose end is the end of the iteration.
    let reader = Task { [base, feed] in
      await withDiscardingTaskGroup { group in
        group.addTask { await feed.core.keepTime() }
        do throws(Base.Failure) {
          var iterator = base.makeAsyncIterator()
          while let element = try await iterator.next(isolation: nil) {
            guard await feed.take(element) else { break }
          }
          feed.end(nil)
        } catch {
          feed.end(error)
        }
      }
    }
    task.withLock { $0 = reader }
  }
}

/// What the reading task and the consumer share.
final class Feed<Element: Sendable, Failure: Error>: Sendable {
  let core: Core<Element>
  private let failure = Guarded(Failure?.none)

  init(size: Int, linger: Duration, clock: any Clock<Duration>) {
    core = Core(
      settings: MachineSettings(
        batchSize: size, linger: linger, concurrency: 1, capacity: size), clock: clock, mover: messageMover())
  }

  func begins() -> Bool {
    core.machine.withLock { $0.runBegan(now: .zero) }
  }

  // MARK: The reading task

  /// Appends an element, and returns when there is room for the next; `false` when nobody wants it.
  ///
  /// There is always room for one, so none is in hand when the task is cancelled.
  func take(_ element: Element) async -> Bool {
    if core.appendOrKeepLock(element) { return true }
    guard case .accepted = core.offerHoldingLock(element, waits: false) else { return false }
    if core.machine.withLock({ $0.isFull }) { await core.settled() }
    return true
  }

  /// The base has come to its end.
  func end(_ failure: Failure?) {
    self.failure.withLock { $0 = failure }
    core.shutdown()
  }

  // MARK: The consumer

  /// The next batch when it is due, `nil` after the last.
  func next(onCancel cancel: @escaping @Sendable () -> Void) async throws(Failure) -> Batch<Element>? {
    var order = look(wasWoken: false)
    while true {
      switch order {
      case .take(let taken):
        defer { giveBack(taken) }
        return core.unpack(taken)
      case .park:
        let wasWoken = await withTaskCancellationHandler {
          await core.park { $0.workerParks($1) }
        } onCancel: {
          cancel()
        }
        order = look(wasWoken: wasWoken)
      case .leave, .end:
        end()
        if let failure = failure.withLock({ $0.take() }) { throw failure }
        return nil
      }
    }
  }

  /// Nobody asks for batches any more.
  func abandon() {
    core.shutdown()
    // The reading task may wait for room.
    while case .take(let taken) = look(wasWoken: false) {
      core.store.destroy(taken.range, of: taken.segment.base)
      giveBack(taken)
    }
    end()
  }

  /// Looks for a batch, which is settled when it is taken.
  ///
  /// In one critical section: were it held a moment longer, there might be no room for an element that is being read.
  private func look(wasWoken: Bool) -> WorkerOrder {
    core.ask { machine, effects in
      let order = machine.workerLooks(wasWoken: wasWoken)
      if case .take(let taken) = order {
        let count = taken.range.count
        machine.attemptEnded(count: count, handled: count, weight: 0, now: core.time.now(), &effects)
        machine.batchSettled(epoch: taken.epoch, &effects)
      }
      return order
    }
  }

  private func giveBack(_ taken: TakenBatch) {
    core.machine.withLock { $0.segmentEmptied(taken.segment) }
  }

  /// The timer may end.
  private func end() {
    core.ask { if $0.workers.running > 0 { $0.workerEnded(&$1) } }
  }
}
