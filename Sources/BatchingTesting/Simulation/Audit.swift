import Batching

/// Checks the promises of an aggregator in a simulation, from what is seen from outside: sends, handler calls, and numbers.
///
/// It is a model of its own and knows nothing of the machine. After each step the books must balance. At rest, when nothing
/// can run until time moves on, all must have happened that could.
///
/// `@unchecked Sendable` because it is only touched by jobs of one simulation, which run one at a time.
final class Audit<Message: Hashable & Sendable>: @unchecked Sendable {
  /// What is known of a message.
  struct Entry {
    /// The send that it went in with, and its place in that; what began earlier comes first.
    var send: Int
    var place: Int
    var beganAt: Duration
    var acceptedAt: Duration?
    /// The batch that brought it to the handler first.
    var batch: Int?
    var isBeingGivenUp = false
    var fates: [Fate] = []
    /// What handlers threw for it.
    var errors: [String] = []
    var hasTimedOut = false
  }

  struct Send {
    var messages: [Message]
    var beganAt: Duration
    var isAfterShutdown: Bool
    var beganAtStep = 0
  }

  struct Call {
    var batch: Batch<Message>
    var beganAt: Duration
    var cancelledAt: Duration?
    var isTimedOut = false
  }

  /// A list of messages that handlers have seen, by its sequence number.
  struct List {
    var messages: [Message]
    var attempt: Int
    var endedAt: Duration?
  }

  struct Flush {
    var accepted: [Message]
    var underWay: [Message]
  }

  let simulation: Simulation
  private(set) var configuration: AggregatorConfiguration
  private(set) var capacity: Int
  /// What there was too much of when the configuration was changed, and is to become less.
  private var heldBefore = 0
  private var callsBefore = 0
  private var unsettledBefore = 0
  /// Messages that slots had taken when the batch size was changed, and whose calls had not begun.
  private var takenBefore = 0
  /// The shortest there has been.
  private var shortestLinger: Duration
  private var wasReconfigured = false
  /// Whether batches may have been cut: their parts were due when the whole was.
  private var wasCut = false
  let weight: (@Sendable (Message) -> Int)?
  /// Of a by-key aggregator.
  let key: (@Sendable (Message) -> AnyHashable)?
  let statistics: () -> AggregatorStatistics

  var entries: [Message: Entry] = [:]
  var sends: [Int: Send] = [:]
  var calls: [Int: Call] = [:]
  var lists: [Int: List] = [:]
  /// Messages of each batch that are not settled yet, by sequence number; the batch occupies a slot as long as there are some.
  var unsettled: [Int: Int] = [:]
  /// By key: the batch that is not settled yet, and when its last handler call, or failure call, ended.
  var busy: [AnyHashable: (batch: Int, endedAt: Duration)] = [:]
  /// By number: when sends began and ended, counted in sends and their ends.
  var sendSteps: [Int: (began: Int, ended: Int)] = [:]
  private var step = 0
  var flushes: [Int: Flush] = [:]
  /// Batches in the order of their numbers are what was accepted, in order.
  var batches: [(number: Int, messages: [Message])] = []
  var taken: [Trigger: Int] = [:]
  var handled = 0
  var failed = 0
  var retries = 0
  var givingUp = 0
  /// Pushed-out messages that the failure handler has been given.
  var dropsGiven = 0
  private var lastSend = 0
  private var lastFlush = 0
  private var last = AggregatorStatistics()

  var runBeganAt: Duration?
  var hasRunEnded = false
  /// Whether somebody waits for the end of `run()` and would tell.
  var isEndAwaited = true
  var shutDownAt: Duration?
  var wasRunCancelled = false
  /// Whether all has come to rest after the handlers' work had been called off.
  var isCalledOff = false
  var hasFlushed = false

  init(
    simulation: Simulation, configuration: AggregatorConfiguration, capacity: Int,
    weight: (@Sendable (Message) -> Int)?, key: (@Sendable (Message) -> AnyHashable)? = nil,
    statistics: @escaping () -> AggregatorStatistics
  ) {
    self.simulation = simulation
    self.configuration = configuration
    self.capacity = capacity
    shortestLinger = configuration.linger
    self.weight = weight
    self.key = key
    self.statistics = statistics
  }

  var now: Duration { simulation.clock.elapsed }

  func check(_ holds: Bool, _ finding: @autoclosure () -> String) {
    if !holds { simulation.found(finding()) }
  }

  private func list(_ messages: [Message]) -> String {
    messages.map { "\($0)" }.joined(separator: ", ")
  }

  // MARK: - Sends

  func sendBegan(_ messages: [Message]) -> Int {
    lastSend += 1
    step += 1
    sendSteps[lastSend] = (step, .max)
    sends[lastSend] = Send(messages: messages, beganAt: now, isAfterShutdown: shutDownAt != nil)
    for (place, message) in messages.enumerated() {
      entries[message] = Entry(send: lastSend, place: place, beganAt: now)
    }
    simulation.trace(.send, lastSend, "send \(lastSend) of \(list(messages))")
    return lastSend
  }

  /// A send is over; the first `accepted` of its messages were, and `error` says why the others were not.
  func sendEnded(_ id: Int, accepted: Int, error: (any Error)? = nil) {
    guard let send = sends.removeValue(forKey: id) else { return }
    step += 1
    sendSteps[id]?.ended = step
    simulation.trace(
      .sent, accepted, "send \(id): \(accepted) accepted\(error.map { ", then \($0)" } ?? "")")
    if send.isAfterShutdown {
      check(
        (error as? AggregatorError) == .closed && accepted == 0,
        "send \(id) began after the shutdown: \(accepted) "
          + "accepted, \(error.map { "\($0)" } ?? "no error")")
    }
    for message in send.messages.prefix(accepted) { entries[message]?.acceptedAt = now }
    for message in send.messages.dropFirst(accepted) {
      let entry = entries.removeValue(forKey: message)
      check(entry?.batch == nil && entry?.fates.isEmpty ?? true, "\(message) was handled though its send threw")
    }
  }

  // MARK: - Flush, shutdown, run

  func flushBegan() -> Int {
    lastFlush += 1
    hasFlushed = true
    let open = entries.filter { $0.value.acceptedAt != nil && $0.value.fates.isEmpty }
    flushes[lastFlush] = Flush(accepted: Array(open.keys), underWay: sends.values.flatMap(\.messages))
    simulation.trace(.flush, lastFlush, "flush \(lastFlush)")
    return lastFlush
  }

  func flushEnded(_ id: Int, error: (any Error)? = nil) {
    simulation.trace(.flushed, id, "flush \(id) is over\(error.map { ": \($0)" } ?? "")")
    guard let flush = flushes.removeValue(forKey: id), error == nil else { return }
    for message in flush.accepted where entries[message]?.fates.isEmpty == true {
      check(false, "flush \(id) returned before \(message) was settled")
    }
  }

  func shutDown() {
    simulation.trace(.shutdown, 0, "shutdown")
    shutDownAt = shutDownAt ?? now
  }

  func reconfigured(_ configuration: AggregatorConfiguration, capacity: Int) {
    simulation.trace(
      .note, configuration.batchSize,
      "reconfigured: batchSize \(configuration.batchSize), linger \(configuration.linger), concurrency "
        + "\(configuration.concurrency), capacity \(capacity)")
    wasCut = wasCut || configuration.batchSize < self.configuration.batchSize
    self.configuration = configuration
    self.capacity = capacity
    wasReconfigured = true
    shortestLinger = min(shortestLinger, configuration.linger)
    let numbers = statistics()
    takenBefore = numbers.inFlight - calls.values.reduce(0) { $0 + $1.batch.count }
    heldBefore = numbers.held
    callsBefore = calls.count
    unsettledBefore = unsettled.count
  }

  func runBegan() {
    simulation.trace(.run, 0, "run")
    runBeganAt = now
  }

  func runCancelled() {
    simulation.trace(.cancel, 0, "run is cancelled")
    guard !hasRunEnded else { return }
    wasRunCancelled = true
  }

  func runEnded(_ error: (any Error)?) {
    simulation.trace(.ended, 0, "run is over\(error.map { ": \($0)" } ?? "")")
    hasRunEnded = true
    if wasRunCancelled {
      check(error is CancellationError, "a cancelled run ended with \(error.map { "\($0)" } ?? "no error")")
    } else {
      check(error == nil, "run() threw \(error.map { "\($0)" } ?? "")")
    }
    check(calls.isEmpty, "run() returned while \(calls.count) handler calls ran")
  }

  /// When the drain is to be given up.
  var drainDeadline: Duration? {
    guard let shutDownAt, let runBeganAt, let timeout = configuration.drainTimeout else { return nil }
    return max(shutDownAt, runBeganAt) + timeout
  }

  var isDrainOver: Bool { drainDeadline.map { $0 <= now } ?? false }
  var isAborted: Bool { wasRunCancelled || isDrainOver }

  // MARK: - Handler calls

  func callBegan(_ id: Int, _ batch: Batch<Message>) {
    simulation.trace(
      .call, batch.sequenceNumber,
      "call \(id): batch \(batch.sequenceNumber), \(batch.trigger), attempt \(batch.attempt): \(list(batch.messages))")
    check(!batch.isEmpty, "a handler got an empty batch")
    if batch.count > configuration.batchSize, batch.attempt == 1 {
      check(batch.count <= takenBefore, "a batch of \(batch.count)")
      takenBefore -= batch.count
    }
    check(batch.count <= configuration.batchSize || wasReconfigured, "a batch of \(batch.count)")
    if let weight, let limit = configuration.maximumBatchWeight {
      let total = batch.reduce(0) { $0 + weight($1) }
      check(total <= limit, "a batch that weighs \(total)")
    }
    check(runBeganAt != nil && !hasRunEnded, "a handler call outside of run()")
    check(!isCalledOff, "a handler call after handlers were cancelled for good")
    if let key {
      let keys = Set(batch.map(key))
      check(keys.count == 1, "a batch of the keys \(keys)")
      let overlaps = calls.values.contains { $0.batch.contains { keys.contains(key($0)) } }
      check(!overlaps, "two handler calls at once for the key \(keys)")
    }
    calls[id] = Call(batch: batch, beganAt: now)
    // A batch under way keeps its slot, whether a call has it or not.
    let most = max(configuration.concurrency, key == nil ? unsettledBefore : callsBefore)
    check(calls.count <= most, "\(calls.count) handler calls at once")
    if batch.attempt == 1 { batchBegan(batch) } else { attemptBegan(batch) }
  }

  private func batchBegan(_ batch: Batch<Message>) {
    let number = batch.sequenceNumber
    check(lists[number] == nil, "batch \(number) began twice")
    check(batch.trigger != .split, "a first attempt with the trigger split")
    lists[number] = List(messages: batch.messages, attempt: 1)
    batches.append((number, batch.messages))
    taken[batch.trigger, default: 0] += 1
    unsettled[number] = batch.count
    if let key = key?(batch[0]) {
      check(busy[key] == nil, "batch \(number) began before batch \(busy[key]?.batch ?? 0) of its key was settled")
      busy[key] = (number, now)
    } else {
      // One that is looked for while its slot is taken away may begin.
      let most = max(configuration.concurrency, unsettledBefore)
      check(unsettled.count <= most, "\(unsettled.count) batches under way at once")
    }
    for message in batch {
      check(entries[message] != nil, "\(message) came to the handler, but was never accepted")
      check(entries[message]?.batch == nil, "\(message) came to the handler in a second batch")
      check(entries[message]?.fates.isEmpty ?? true, "\(message) came to the handler after it was settled")
      entries[message]?.batch = number
    }
    let age = batch.first.flatMap { entries[$0] }.map { now - $0.beganAt } ?? .zero
    switch batch.trigger {
    case .size:
      // Once it is due, its oldest may be pushed out.
      let isFull =
        batch.count == configuration.batchSize || configuration.overflow == .dropOldest || wasReconfigured
      check(isFull, "due by size with \(batch.count) messages")
    case .linger:
      // Due and then full, it stays closed whatever is pushed out.
      let isOld = age >= shortestLinger || wasCut || configuration.overflow == .dropOldest && last.dropped > 0
      check(isOld, "due by linger after \(age)")
    case .weight: check(configuration.maximumBatchWeight != nil, "due by weight without a limit")
    case .flush: check(hasFlushed, "due by a flush that there was not")
    case .shutdown: check(shutDownAt != nil || wasRunCancelled, "due by a shutdown that there was not")
    default: check(false, "due by \(batch.trigger)")
    }
  }

  private func attemptBegan(_ batch: Batch<Message>) {
    let number = batch.sequenceNumber
    retries += 1
    if batch.trigger == .split { taken[.split, default: 0] += 1 }
    if let list = lists[number] {
      check(list.messages == batch.messages, "batch \(number) came again with other messages")
      check(list.attempt + 1 == batch.attempt, "attempt \(batch.attempt) of batch \(number) after \(list.attempt)")
      check(batch.attempt <= configuration.retry.maximumAttempts, "attempt \(batch.attempt) of batch \(number)")
      let gap = list.endedAt.map { now - $0 }
      // What was put aside comes again when a slot is free.
      check(
        gap.map { $0 <= configuration.retry.maximum || key != nil } ?? false,
        "batch \(number) came again after \(gap.map { "\($0)" } ?? "nothing")")
    }
    lists[number] = List(messages: batch.messages, attempt: batch.attempt)
    for message in batch {
      check(entries[message]?.batch != nil, "\(message) came in a retry first")
      check(entries[message]?.fates.isEmpty ?? true, "\(message) was tried again after it was settled")
    }
  }

  /// Handlers may be cancelled for three reasons.
  func callCancelled(_ id: Int) {
    simulation.trace(.cancelled, id, "call \(id) is cancelled")
    guard let call = calls[id] else { return }
    calls[id]?.cancelledAt = now
    let isTimeUp = configuration.handlerTimeout.map { call.beganAt + $0 <= now } ?? false
    check(isTimeUp || isAborted, "call \(id) was cancelled for no reason")
    guard isTimeUp else { return }
    calls[id]?.isTimedOut = true
    for message in call.batch { entries[message]?.hasTimedOut = true }
  }

  func callEnded(_ id: Int, _ error: (any Error)?) {
    guard let call = calls.removeValue(forKey: id) else { return }
    simulation.trace(
      error == nil ? .returned : .threw, id, "call \(id) \(error.map { "threw \($0)" } ?? "returned")")
    lists[call.batch.sequenceNumber]?.endedAt = now
    if let key = key?(call.batch[0]) { busy[key]?.endedAt = now }
    // What is thrown after the time was up is a time-out, whatever it says.
    let partial = (call.isTimedOut ? nil : error as? PartialBatchFailure).flatMap {
      $0.failures.keys.allSatisfy(call.batch.indices.contains) ? $0.failures : nil
    }
    for (offset, message) in call.batch.enumerated() {
      if error == nil || (partial != nil && partial?[offset] == nil) {
        settled(message, .handled)
      } else {
        entries[message]?.errors.append("\(partial?[offset] ?? error ?? CancellationError())")
      }
    }
  }

  // MARK: - Failures

  func failureBegan(_ failure: BatchFailure<Message>, isCancelled: Bool) {
    simulation.trace(
      .failure, failure.sequenceNumber,
      "onFailure: \(list(failure.messages)), attempts \(failure.attempts), \(failure.error)")
    check(!isCancelled, "onFailure was called in a cancelled task")
    check(!failure.items.isEmpty, "onFailure was called for nothing")
    if let key { check(Set(failure.messages.map(key)).count == 1, "a failure of several keys: \(failure.messages)") }
    for item in failure.items {
      guard let entry = entries[item.message] else {
        check(false, "\(item.message) was given up, but never accepted")
        continue
      }
      check(!entry.isBeingGivenUp && entry.fates.isEmpty, "\(item.message) was given up, and settled before")
      entries[item.message]?.isBeingGivenUp = true
      if (item.error as? AggregatorError) == .dropped { dropsGiven += 1 }
      check(isReason(item.error, for: entry), "\(item.message) was given up because of \(item.error)")
    }
    givingUp += failure.items.count
  }

  func failureEnded(_ failure: BatchFailure<Message>, isCancelled: Bool) {
    simulation.trace(.saved, failure.sequenceNumber, "onFailure returned: \(list(failure.messages))")
    check(!isCancelled, "onFailure was cancelled")
    givingUp -= failure.items.count
    if let key = key?(failure.items[0].message) { busy[key]?.endedAt = now }
    for item in failure.items {
      let isDrop = (item.error as? AggregatorError) == .dropped
      if !isDrop { failed += 1 }
      settled(item.message, isDrop ? .dropped : .failed(item.error))
    }
  }

  /// Whether an error can be why a message was given up.
  private func isReason(_ error: any Error, for entry: Entry) -> Bool {
    switch error as? AggregatorError {
    case .dropped?: configuration.overflow == .dropOldest && entry.batch == nil
    case .drainTimedOut?: isDrainOver
    case .handlerTimedOut?: entry.hasTimedOut
    case .some: false
    case nil: entry.errors.contains("\(error)") || (error is CancellationError && wasRunCancelled)
    }
  }

  private func settled(_ message: Message, _ fate: Fate) {
    if case .handled = fate { handled += 1 }
    entries[message]?.fates.append(fate)
    entries[message]?.isBeingGivenUp = false
    check(entries[message]?.fates.count == 1, "\(message) has more than one fate: \(entries[message]?.fates ?? [])")
    guard let batch = entries[message]?.batch, let left = unsettled[batch] else { return }
    unsettled[batch] = left > 1 ? left - 1 : nil
    if left == 1, let key = key?(message), busy[key]?.batch == batch { busy[key] = nil }
  }

  // MARK: - Numbers

  /// The books balance after each step, and nothing runs backwards.
  func checkBooks() {
    let next = statistics()
    check(
      next.accepted == next.handled + next.failed + next.dropped + next.cancelled + next.held,
      "the books do not balance: \(next)")
    heldBefore = min(heldBefore, next.held)
    callsBefore = min(callsBefore, calls.count)
    unsettledBefore = min(unsettledBefore, unsettled.count)
    check(next.held <= max(capacity, heldBefore), "\(next.held) messages held")
    check(next.inFlight >= 0 && next.inFlight <= next.held, "\(next.inFlight) in flight of \(next.held) held")
    check(
      next.accepted >= last.accepted && next.handled >= last.handled && next.failed >= last.failed
        && next.dropped >= last.dropped && next.rejected >= last.rejected && next.retries >= last.retries,
      "a number runs backwards: \(last) to \(next)")
    last = next
    checkShares()
  }

  /// A key holds at most half of the capacity, or a batch's worth.
  private func checkShares() {
    guard let key, configuration.overflow != .dropOldest, !wasReconfigured else { return }
    var held: [AnyHashable: Int] = [:]
    for (message, entry) in entries where entry.acceptedAt != nil && entry.fates.isEmpty {
      held[key(message), default: 0] += 1
    }
    let share = max(configuration.batchSize, (capacity + 1) / 2)
    check(held.values.allSatisfy { $0 <= share }, "\(held) held by key, but a share is \(share)")
  }
}
