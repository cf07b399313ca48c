public import Batching

/// Notes what becomes of each message, and checks that each accepted one has one fate.
///
/// It stands around the two handlers:
///
/// ```swift
/// let recorder = FateRecorder<Event>()
/// let aggregator = try Aggregator<Event>(
///   configuration: configuration,
///   handler: recorder.recording { batch in try await database.insert(batch) },
///   onFailure: recorder.recording { failure in await deadLetters.save(failure.messages) })
/// …
/// try recorder.check(accepted: sent, statistics: aggregator.statistics)
/// ```
///
/// Messages must differ from each other. What it knows is what the handlers were told: whether the rows are really in the
/// database is for the test to look up.
public final class FateRecorder<Message: Hashable & Sendable>: Sendable {
  private struct State {
    var fates: [Message: [Fate]] = [:]
    var handled: [Message] = []
    var cancelledFailureCalls = 0
  }

  private let state = Watched(State())

  /// Makes a recorder that has seen nothing.
  public init() {}

  // MARK: - Around the handlers

  /// The handler, with its outcomes noted.
  public func recording(
    _ handler: @escaping @Sendable (Batch<Message>) async throws -> Void
  ) -> @Sendable (Batch<Message>) async throws -> Void {
    { batch in try await self.record(batch) { try await handler(batch) } }
  }

  /// The failure handler, with what it was given noted.
  public func recording(
    _ onFailure: @escaping @Sendable (BatchFailure<Message>) async -> Void
  ) -> @Sendable (BatchFailure<Message>) async -> Void {
    { failure in await self.record(failure) { await onFailure(failure) } }
  }

  /// Calls the handler and notes what that means for each message of the batch.
  ///
  /// - Throws: What the handler throws.
  public func record(_ batch: Batch<Message>, _ handler: () async throws -> Void) async throws {
    do {
      try await handler()
      note(.handled, batch.messages)
    } catch let partial as PartialBatchFailure where partial.failures.keys.allSatisfy(batch.indices.contains) {
      note(.handled, batch.indices.filter { partial.failures[$0] == nil }.map { batch[$0] })
      throw partial
    }
  }

  /// Calls the failure handler and notes what that means for each message.
  public func record(_ failure: BatchFailure<Message>, _ onFailure: () async -> Void) async {
    let startedCancelled = Task.isCancelled
    await onFailure()
    let wasCancelled = startedCancelled || Task.isCancelled
    state.change { state in
      if wasCancelled { state.cancelledFailureCalls += 1 }
      for item in failure.items {
        let isDrop = (item.error as? AggregatorError) == .dropped
        state.fates[item.message, default: []].append(isDrop ? .dropped : .failed(item.error))
      }
    }
  }

  private func note(_ fate: Fate, _ messages: [Message]) {
    state.change { state in
      state.handled += messages
      for message in messages { state.fates[message, default: []].append(fate) }
    }
  }

  // MARK: - What the test sees

  /// Every fate of every message.
  public var all: [Message: [Fate]] { state.current.fates }

  /// The fate of each message that has just one.
  public var each: [Message: Fate] {
    all.compactMapValues { $0.count == 1 ? $0[0] : nil }
  }

  /// The messages with more than one fate.
  public var manifold: [Message: [Fate]] { all.filter { $0.value.count > 1 } }

  /// The messages that were handled, in that order.
  public var handled: [Message] { state.current.handled }

  /// How many fates there were of a kind.
  public func count(where predicate: (Fate) -> Bool) -> Int {
    all.values.reduce(0) { $0 + $1.count(where: predicate) }
  }

  /// How often a failure handler found itself in a cancelled task.
  public var cancelledFailureCalls: Int { state.current.cancelledFailureCalls }

  /// Checks, after the end of `run()`, that each accepted message has one fate, and no other message has any.
  ///
  /// - Parameters:
  ///   - accepted: The messages whose send returned, and no others.
  ///   - statistics: The aggregator's own numbers, to be compared with what the handlers saw; `nil` compares nothing.
  /// - Throws: ``FateViolation``, which lists all that is wrong.
  public func check(accepted: some Sequence<Message>, statistics: AggregatorStatistics? = nil) throws(FateViolation) {
    let state = state.current
    let accepted = Array(accepted)
    var findings: [String] = []
    func list(_ messages: [Message], _ what: String) {
      guard !messages.isEmpty else { return }
      let shown = messages.prefix(5).map { message in
        let fates = state.fates[message, default: []]
        return fates.isEmpty ? "\(message)" : "\(message) (\(fates.map(\.description).joined(separator: ", ")))"
      }
      let more = messages.count > 5 ? ", and \(messages.count - 5) more" : ""
      findings.append("\(what): \(shown.joined(separator: ", "))\(more)")
    }
    list(accepted.filter { state.fates[$0] == nil }, "accepted, but without a fate")
    list(accepted.filter { state.fates[$0, default: []].count > 1 }, "more than one fate")
    let known = Set(accepted)
    list(state.fates.keys.filter { !known.contains($0) }, "never accepted, but with a fate")
    if state.cancelledFailureCalls > 0 {
      findings.append("onFailure found itself in a cancelled task, \(state.cancelledFailureCalls) times")
    }
    if let statistics {
      let fates = state.fates.values.joined()
      let dropped = fates.count { $0 == .dropped }
      let handled = fates.count { $0 == .handled }
      for (name, said, seen) in [
        ("accepted", statistics.accepted, accepted.count), ("handled", statistics.handled, handled),
        ("dropped", statistics.dropped, dropped), ("failed", statistics.failed, fates.count - dropped - handled),
        ("held", statistics.held, 0),
      ] where said != seen {
        findings.append("statistics say that \(said) are \(name), but there are \(seen)")
      }
    }
    if !findings.isEmpty { throw FateViolation(findings: findings) }
  }
}

/// What is wrong with the fates of messages.
public struct FateViolation: Error, CustomStringConvertible {
  /// One finding each.
  public let findings: [String]

  /// All findings, one a line.
  public var description: String { findings.joined(separator: "\n") }
}
