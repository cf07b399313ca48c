import Batching

extension Audit: Auditing {
  func afterStep() { checkBooks() }

  /// Nothing can run until time moves on: all that could happen by now has.
  func atRest() {
    guard !hasRunEnded else { return }
    let numbers = statistics()
    checkNumbers(numbers)
    checkCancellations()
    if isAborted { isCalledOff = true }
    checkSenders(numbers)
    if !isAborted { checkDueBatches(numbers) }
    checkFlushes()
    if isEndAwaited, shutDownAt != nil, runBeganAt != nil, numbers.held == 0, givingUp == 0,
      entries.values.allSatisfy({ !$0.fates.isEmpty || $0.acceptedAt == nil })
    {
      check(false, "all is settled after the shutdown, but run() does not return")
    }
  }

  /// The aggregator's own numbers are what was seen.
  private func checkNumbers(_ numbers: AggregatorStatistics) {
    check(
      numbers.inFlight == calls.values.reduce(0) { $0 + $1.batch.count },
      "\(numbers.inFlight) in flight, but handlers have \(calls.values.map(\.batch.count))")
    for (name, said, seen) in [
      ("handled", numbers.handled, handled), ("failed", numbers.failed, failed), ("retries", numbers.retries, retries),
      ("waiting senders", numbers.waitingSenders, sends.count),
    ] {
      check(said == seen, "\(name) is \(said), but should be \(seen)")
    }
    for trigger in Trigger.allCases {
      let said = numbers.batches[trigger] ?? 0
      let seen = taken[trigger] ?? 0
      check(said == seen, "batches by \(trigger) is \(said), but should be \(seen)")
    }
    let accepted = entries.values.count { $0.acceptedAt != nil }
    let underWay = sends.values.reduce(0) { $0 + $1.messages.count }
    check(
      (accepted...(accepted + underWay)).contains(numbers.accepted),
      "accepted is \(numbers.accepted), but should be \(accepted), and at most \(underWay) more")
  }

  /// Handlers are cancelled when their time is up, and when all is called off.
  private func checkCancellations() {
    for (id, call) in calls where call.cancelledAt == nil {
      check(!isAborted, "call \(id) should have been cancelled with the others")
      if let timeout = configuration.handlerTimeout {
        check(call.beganAt + timeout > now, "call \(id) should have been cancelled, its time is up")
      }
    }
  }

  /// Nobody waits for room that is there.
  private func checkSenders(_ numbers: AggregatorStatistics) {
    guard !sends.isEmpty else { return }
    check(shutDownAt == nil && !wasRunCancelled, "senders wait after the end")
    check(configuration.overflow == .suspend, "senders wait though the policy is \(configuration.overflow)")
    if key != nil { return checkSendersByKey(numbers) }
    let isFull = configuration.maximumHeldWeight == nil ? numbers.held >= capacity : numbers.held > 0
    check(isFull, "senders wait for room, but only \(numbers.held) are held")
  }

  /// Who waits though there is room waits for the share of a key.
  private func checkSendersByKey(_ numbers: AggregatorStatistics) {
    guard let key, configuration.maximumHeldWeight == nil, numbers.held < capacity else { return }
    var held: [AnyHashable: Int] = [:]
    // Of sends under way it is not known how many messages were accepted.
    for (message, entry) in entries where entry.fates.isEmpty { held[key(message), default: 0] += 1 }
    for (id, send) in sends {
      let waitsForShare = send.messages.contains { held[key($0)] ?? 0 >= configuration.batchSize }
      check(waitsForShare, "send \(id) waits for room, but only \(numbers.held) are held, by key at most \(held)")
    }
  }

  /// Where a slot is free, no key has a batch that is due, and none waits longer than a back-off takes.
  private func checkDueBatchesByKey() {
    guard let key, runBeganAt != nil, calls.count < configuration.concurrency else { return }
    var waiting: [AnyHashable: [Entry]] = [:]
    var beingGivenUp: Set<AnyHashable> = []
    for (message, entry) in entries {
      if entry.isBeingGivenUp { beingGivenUp.insert(key(message)) }
      guard entry.acceptedAt != nil, entry.batch == nil, entry.fates.isEmpty, !entry.isBeingGivenUp else { continue }
      waiting[key(message), default: []].append(entry)
    }
    if configuration.overflow != .dropOldest {
      for (key, entries) in waiting where busy[key] == nil {
        check(entries.count < configuration.batchSize, "\(entries.count) messages of \(key) wait though a slot is free")
        check(shutDownAt == nil, "\(entries.count) messages of \(key) wait after the shutdown though a slot is free")
        let isOverdue = entries.contains { ($0.acceptedAt ?? now) + configuration.linger <= now }
        check(!isOverdue, "a message of \(key) waits longer than linger though a slot is free")
      }
    }
    // As many failure calls as there are slots run at once; those beyond wait.
    guard beingGivenUp.count < configuration.concurrency else { return }
    for (key, batch) in busy where !beingGivenUp.contains(key) {
      let isCalled = calls.values.contains { self.key?($0.batch[0]) == key }
      check(
        isCalled || now - batch.endedAt <= configuration.retry.maximum,
        "what is left of batch \(batch.batch) of \(key) has waited since \(batch.endedAt)")
    }
  }

  /// Where a slot is free, nothing is due.
  private func checkDueBatches(_ numbers: AggregatorStatistics) {
    if key != nil { return checkDueBatchesByKey() }
    guard runBeganAt != nil, unsettled.count < configuration.concurrency else { return }
    let waiting = numbers.held - unsettled.values.reduce(0, +)
    check(waiting < configuration.batchSize, "\(waiting) messages wait though a slot is free")
    guard waiting > 0 else { return }
    check(shutDownAt == nil, "\(waiting) messages wait after the shutdown though a slot is free")
    let overdue = entries.values.count { entry in
      guard let acceptedAt = entry.acceptedAt, entry.batch == nil, entry.fates.isEmpty, !entry.isBeingGivenUp
      else { return false }
      return acceptedAt + configuration.linger <= now
    }
    // Messages that were pushed out are between two worlds until the failure handler gets them.
    let pushedOut = numbers.dropped - dropsGiven
    check(overdue <= pushedOut, "\(overdue) messages wait longer than linger though a slot is free")
    for (id, flush) in flushes {
      let waiting = flush.accepted.count { message in
        entries[message].map { $0.batch == nil && $0.fates.isEmpty && !$0.isBeingGivenUp } ?? false
      }
      check(waiting <= pushedOut, "\(waiting) messages wait, though flush \(id) made them due and a slot is free")
    }
  }

  /// A flush returns when all is settled that was accepted before.
  private func checkFlushes() {
    for (id, flush) in flushes {
      let messages = flush.accepted + flush.underWay
      let isOver = messages.allSatisfy { message in
        guard let entry = entries[message] else { return true }
        return entry.acceptedAt != nil && !entry.fates.isEmpty
      }
      check(!isOver, "flush \(id) does not return though all before it is settled")
    }
  }

  // MARK: - At the end

  /// After `run()`: each accepted message has one fate, the numbers are right, and batches are in order.
  func checkEnd() {
    checkBooks()
    let numbers = statistics()
    check(sends.isEmpty && flushes.isEmpty, "\(sends.count) sends and \(flushes.count) flushes are not over")
    for (message, entry) in entries {
      check(entry.fates.count == 1, "\(message) has \(entry.fates.count) fates after the end: \(entry.fates)")
    }
    let dropped = entries.values.count { $0.fates == [.dropped] }
    for (name, said, seen) in [
      ("accepted", numbers.accepted, entries.count), ("handled", numbers.handled, handled),
      ("failed", numbers.failed, failed), ("dropped", numbers.dropped, dropped), ("retries", numbers.retries, retries),
      ("held", numbers.held, 0), ("inFlight", numbers.inFlight, 0), ("waitingSenders", numbers.waitingSenders, 0),
    ] {
      check(said == seen, "after the end \(name) is \(said), but should be \(seen)")
    }
    checkOrder()
  }

  /// What begins to be sent first comes first: a send is accepted where it begins, or waits in line.
  private func checkOrder() {
    if let key { return checkOrder(by: key) }
    var last = (send: 0, place: 0)
    for batch in batches.sorted(by: { $0.number < $1.number }) {
      for message in batch.messages {
        guard let entry = entries[message] else { continue }
        let next = (send: entry.send, place: entry.place)
        check(last < next, "\(message) of batch \(batch.number) came behind a later one")
        last = next
      }
    }
  }

  /// Of one key, what was sent before another send began comes first.
  private func checkOrder(by key: (Message) -> AnyHashable) {
    var latest: [AnyHashable: (send: Int, began: Int)] = [:]
    var places: [Int: [AnyHashable: Int]] = [:]
    for batch in batches.sorted(by: { $0.number < $1.number }) {
      for message in batch.messages {
        guard let entry = entries[message], let steps = sendSteps[entry.send] else { continue }
        let key = key(message)
        if let last = latest[key], last.send != entry.send {
          check(steps.ended > last.began, "\(message) of batch \(batch.number) came behind one that was sent later")
        }
        if steps.began > latest[key]?.began ?? 0 { latest[key] = (entry.send, steps.began) }
        let place = places[entry.send]?[key] ?? -1
        check(place < entry.place, "\(message) of batch \(batch.number) came behind a later one of its send")
        places[entry.send, default: [:]][key] = entry.place
      }
    }
  }
}
