import Testing

@testable import KafkaLog

/// The same in the simplest form: what became of each message, in a dictionary.
private struct Model {
  enum Fate { case inHands, returned, acknowledged }
  var fates: [Int64: Fate] = [:]
  var committed: Int64?

  /// Behind the messages that are acknowledged without a gap.
  var position: Int64? {
    var position: Int64?
    for (offset, fate) in fates.sorted(by: { $0.key < $1.key }) {
      guard fate == .acknowledged else { break }
      position = offset + 1
    }
    return position
  }

  var outstanding: Int { fates.values.count { $0 == .inHands } }
}

private enum Step: CaseIterable {
  case handOut, acknowledge, giveBack
}

@Suite struct OffsetTrackerTests {
  /// Every sequence of `depth` steps on these offsets, each step on any of them, and a commit that succeeds after any of
  /// them.
  private func explore(
    _ offsets: [Int64], depth: Int, _ tracker: OffsetTracker, _ model: Model, _ visited: inout Int
  ) {
    visited += 1
    #expect(tracker.position == model.position)
    #expect(tracker.outstanding == model.outstanding)
    // Never past a message that is not acknowledged.
    if let committable = tracker.committable {
      #expect(model.fates.allSatisfy { $0.key >= committable || $0.value == .acknowledged })
      #expect(committable == model.position && committable != model.committed)
    } else {
      #expect(model.position == model.committed)
    }
    guard depth > 0 else { return }
    for step in Step.allCases {
      for offset in offsets {
        var (tracker, model) = (tracker, model)
        guard perform(step, offset, &tracker, &model) else { continue }
        explore(offsets, depth: depth - 1, tracker, model, &visited)
      }
    }
    if let committable = tracker.committable {
      var (tracker, model) = (tracker, model)
      tracker.commitSucceeded(committable)
      model.committed = committable
      explore(offsets, depth: depth - 1, tracker, model, &visited)
    }
  }

  /// Returns whether it changed anything; whether it ought to is checked.
  private func perform(_ step: Step, _ offset: Int64, _ tracker: inout OffsetTracker, _ model: inout Model) -> Bool {
    switch step {
    case .handOut:
      // Kafka delivers by growing offset; only what was given back comes again.
      let newest = model.fates.keys.max() ?? -1
      let isWanted = offset > newest || model.fates[offset] == .returned
      #expect(tracker.handOut(offset) == isWanted)
      if isWanted { model.fates[offset] = .inHands }
      return isWanted
    case .acknowledge:
      let changes = model.fates[offset].map { $0 != .acknowledged } ?? false
      tracker.acknowledge(offset)
      if changes { model.fates[offset] = .acknowledged }
      if !changes {
        #expect(tracker.position == model.position)
        #expect(tracker.outstanding == model.outstanding)
      }
      return changes
    case .giveBack:
      let isWanted = model.fates[offset] == .inHands
      #expect(tracker.giveBack(offset) == isWanted)
      if isWanted { model.fates[offset] = .returned }
      return isWanted
    }
  }

  @Test func `Whatever the order, nothing is committed past what is not acknowledged`() {
    var visited = 0
    // With a gap, as in a compacted topic.
    explore([5, 6, 9], depth: 9, OffsetTracker(), Model(), &visited)
    #expect(visited > 10_000)
  }

  @Test func `Every order of acknowledging seven messages ends behind the last`() {
    func permutations(_ rest: [Int64], _ tracker: OffsetTracker, _ done: Set<Int64>) -> Int {
      if rest.isEmpty {
        #expect(tracker.committable == 7)
        #expect(tracker.outstanding == 0)
        return 1
      }
      return rest.reduce(0) { sum, offset in
        var next = tracker
        next.acknowledge(offset)
        let now = done.union([offset])
        let prefix = (0..<7).first { !now.contains($0) } ?? 7
        #expect(next.position == (prefix == 0 ? nil : prefix))
        return sum + permutations(rest.filter { $0 != offset }, next, now)
      }
    }
    var tracker = OffsetTracker()
    for offset: Int64 in 0..<7 { #expect(tracker.handOut(offset) == true) }
    #expect(permutations(Array(0..<7), tracker, []) == 5_040)
  }

  @Test func `An offset that was never handed out is nothing`() {
    var tracker = OffsetTracker()
    tracker.acknowledge(3)
    #expect(tracker.giveBack(3) == false)
    #expect(tracker.committable == nil)
    #expect(tracker.handOut(3) == true)
    #expect(tracker.handOut(3) == false)
    #expect(tracker.handOut(2) == false)
    tracker.acknowledge(2)
    tracker.acknowledge(4)
    #expect(tracker.committable == nil)
    tracker.acknowledge(3)
    #expect(tracker.committable == 4)
  }

  @Test func `A hundred thousand messages that are acknowledged backwards cost no more than forwards`() {
    var tracker = OffsetTracker()
    for offset: Int64 in 0..<100_000 { _ = tracker.handOut(offset) }
    for offset in (1..<100_000).reversed() { tracker.acknowledge(Int64(offset)) }
    #expect(tracker.committable == nil)
    tracker.acknowledge(0)
    #expect(tracker.committable == 100_000)
  }
}
