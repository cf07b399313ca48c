import Testing

@testable import Batching

@Suite("Machine: dropping the oldest")
struct DropsTests {
  private func bench(_ change: (inout MachineSettings) -> Void = { _ in }) -> MachineBench {
    MachineBench {
      $0.capacity = 4
      $0.dropsOldest = true
      change(&$0)
    }
  }

  private struct Drops: Equatable {
    var messages: [Int]
    var epochs: [DropBox.EpochRun]
  }

  /// Takes what was pushed out; the taken record comes along so that it can be given back as saved.
  private func take(_ bench: MachineBench) -> (drops: Drops, taken: TakenDrops)? {
    var result: (Drops, TakenDrops)?
    _ = bench.when { machine, _ in
      guard let taken = machine.dropsTaken() else { return }
      let base = taken.segment.base.assumingMemoryBound(to: Int.self)
      result = (Drops(messages: (0..<taken.count).map { base[$0] }, epochs: taken.epochs), taken)
      taken.segment.free()
    }
    return result
  }

  @Test func `a new message pushes out the oldest whose batch has not started`() {
    let bench = bench()
    bench.run()
    #expect(bench.on { machine, _ in machine.supervisorLooks() }.answer == .park)
    #expect(bench.on { machine, _ in machine.supervisorParks("run") }.answer)
    _ = bench.offer(count: 1)
    for _ in 2...4 { #expect(bench.offer() == .init(answer: .accepted, woken: [])) }
    #expect(bench.offer() == .init(answer: .accepted, woken: ["run look"]))
    #expect(bench.offer() == .init(answer: .accepted, woken: []))
    #expect(bench.on { machine, _ in machine.supervisorLooks() }.answer == .act(.saveDrops))
    #expect(bench.statistics.dropped == 2)
    #expect(bench.statistics.held == 4)
    #expect(take(bench)?.drops == Drops(messages: [1, 2], epochs: [.init(epoch: 0, count: 2)]))
    #expect(bench.look() == .take(.init(messages: [3], trigger: .size, number: 2, abort: nil)))
  }

  @Test func `a batch began when the first of its messages that is left was accepted`() {
    let bench = bench { $0.capacity = 5 }
    for message in 1...5 { _ = bench.offer(at: .milliseconds(message)) }
    #expect(bench.offer(at: .milliseconds(6)).answer == .accepted)  // closes [4, 5, 6], pushes out 1
    #expect(bench.look() == .take(.init(messages: [2, 3], trigger: .size, number: 1, abort: nil)))
    #expect(bench.lastBegan == .milliseconds(2))
    #expect(bench.look() == .take(.init(messages: [4, 5, 6], trigger: .size, number: 2, abort: nil)))
    #expect(bench.lastBegan == .milliseconds(4))
  }

  @Test func `what a handler has is not pushed out`() {
    let bench = bench { $0.batchSize = 4 }
    for _ in 1...4 { _ = bench.offer() }
    _ = bench.look()
    #expect(bench.offer() == .init(answer: .full, woken: []))
    #expect(bench.statistics.dropped == 0)
  }

  @Test func `those who wait for the failure handler have a bound of their own`() {
    let bench = bench()
    for _ in 1...8 { #expect(bench.offer().answer == .accepted) }
    #expect(bench.offer().answer == .full)
    let first = take(bench)
    #expect(first?.drops.messages == [1, 2, 3, 4])
    #expect(bench.offer().answer == .full)
    _ = bench.when { machine, effects in first.map { machine.dropsSaved($0.taken, &effects) } }
    #expect(bench.offer().answer == .accepted)
    #expect(take(bench)?.drops.messages == [5])
    #expect(take(bench) == nil)
  }

  @Test func `enough is pushed out for a heavy message, or nothing at all`() {
    let bench = bench { $0.maximumHeldWeight = 10 }
    _ = bench.offer(weight: 2)
    _ = bench.offer(weight: 3)
    _ = bench.offer(weight: 5)
    #expect(bench.offer(weight: 5).answer == .accepted)
    #expect(take(bench)?.drops.messages == [1, 2])
    #expect(bench.heldWeight == 10)
    _ = bench.look()
    // Of the weight that is left to push out, nine cannot be had.
    #expect(bench.offer(weight: 9).answer == .full)
    #expect(bench.statistics.dropped == 2)
  }

  @Test func `linger counts from the first message that is left`() {
    let bench = bench { $0.batchSize = 4 }
    bench.run()
    for millisecond in 0..<4 { _ = bench.offer(at: .milliseconds(millisecond)) }
    _ = bench.look()
    _ = bench.when { $0.attemptEnded(count: 4, handled: 2, weight: 0, now: .zero, &$1) }
    _ = bench.offer(at: .milliseconds(20))
    _ = bench.offer(at: .milliseconds(25))
    #expect(bench.deadline == .milliseconds(30))
    _ = bench.offer(at: .milliseconds(28))
    #expect(bench.deadline == .milliseconds(35))
  }

  @Test func `a batch that was due by its first message is not, once that is pushed out`() {
    let bench = bench { $0.batchSize = 4 }
    bench.run()
    for _ in 0..<4 { _ = bench.offer() }
    _ = bench.look()
    _ = bench.when { $0.attemptEnded(count: 4, handled: 2, weight: 0, now: .zero, &$1) }
    _ = bench.offer(at: .milliseconds(20))
    _ = bench.offer(at: .milliseconds(29))
    _ = bench.when { $0.timerFired(now: .milliseconds(30), &$1) }
    #expect(bench.deadline == nil)
    _ = bench.offer(at: .milliseconds(31))
    #expect(bench.deadline == .milliseconds(39))
    #expect(bench.look() == .park)
  }

  @Test func `an emptied open batch vanishes with its deadline`() {
    let bench = bench { $0.batchSize = 4 }
    for _ in 0..<4 { _ = bench.offer() }
    _ = bench.look()
    _ = bench.when { $0.attemptEnded(count: 4, handled: 1, weight: 0, now: .zero, &$1) }
    _ = bench.offer(at: .milliseconds(20))
    #expect(bench.deadline == .milliseconds(30))
    _ = bench.offer(at: .milliseconds(29))
    #expect(bench.deadline == .milliseconds(39))
  }

  @Test func `a flush waits for drops too, whichever ends last`() {
    let bench = bench { $0.batchSize = 2 }
    for _ in 1...5 { _ = bench.offer() }
    _ = bench.on { $0.flushAsked(&$1) }
    _ = bench.on { machine, _ in machine.flusherWaits(0, "flusher") }
    let dropped = take(bench)
    #expect(dropped?.drops == Drops(messages: [1], epochs: [.init(epoch: 0, count: 1)]))
    for number in 2...4 {
      guard case .take(let batch) = bench.look() else {
        Issue.record("batch \(number) is missing")
        return
      }
      #expect(bench.handled(batch.number, count: batch.messages.count) == [])
    }
    #expect(
      bench.when { machine, effects in dropped.map { machine.dropsSaved($0.taken, &effects) } } == ["flusher settled"])
  }

  @Test func `pushing out one after the other stays in order over many rounds`() {
    let bench = bench { $0.batchSize = 4 }
    var pushedOut: [Int] = []
    for _ in 1...500 {
      #expect(bench.offer().answer == .accepted)
      if let (drops, taken) = take(bench) {
        pushedOut += drops.messages
        _ = bench.when { $0.dropsSaved(taken, &$1) }
      }
    }
    #expect(pushedOut == Array(1...496))
  }
}
