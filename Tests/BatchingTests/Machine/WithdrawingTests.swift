import BatchingTesting
import Testing

@testable import Batching

@Suite("Machine: taking messages back")
struct WithdrawingTests {
  /// What a machine should do, said with arrays: batches of messages, oldest first.
  private struct Model {
    var ready: [[Int]] = []
    var open: [Int] = []
    /// Whether the open batch was full once, and lost one.
    var openIsDue = false
    let batchSize: Int

    mutating func accept(_ message: Int) {
      open.append(message)
      guard open.count == batchSize else { return }
      ready.append(open)
      forgetOpen()
    }

    mutating func withdraw(_ message: Int) -> Bool {
      if let index = open.firstIndex(of: message) {
        open.remove(at: index)
        if open.isEmpty { forgetOpen() }
        return true
      }
      guard let batch = ready.firstIndex(where: { $0.contains(message) }) else { return false }
      ready[batch].removeAll { $0 == message }
      if ready[batch].isEmpty { ready.remove(at: batch) }
      // A full batch that lost one grows again, if it is the newest.
      if open.isEmpty, let last = ready.last, last.count < batchSize {
        open = ready.removeLast()
        openIsDue = true
      }
      return true
    }

    mutating func take() -> [Int]? {
      if !ready.isEmpty { return ready.removeFirst() }
      guard openIsDue else { return nil }
      defer { forgetOpen() }
      return open
    }

    private mutating func forgetOpen() {
      open = []
      openIsDue = false
    }
  }

  /// Accepts, takes back and takes at random, each machine against the model, in thousands of orders.
  @Test(arguments: [1, 2, 3, 8], [false, true])
  func everyOrderOfEventsGivesWhatTheModelSays(batchSize: Int, isWeighted: Bool) {
    for seed in UInt64(0)..<400 {
      var random = SeededGenerator(seed: seed)
      var settings = MachineSettings()
      settings.batchSize = batchSize
      settings.linger = .seconds(3600)
      settings.capacity = 12
      settings.canBeWithdrawn = true
      if isWeighted { settings.maximumHeldWeight = 40 }
      var machine = Machine<Int>(settings: settings, layout: MessageLayout(of: Int.self))
      var model = Model(batchSize: batchSize)
      var lastMessage = 0
      var weights: [Int: Int] = [:]
      var effects = Effects<Int>()
      let target = UnsafeMutablePointer<Int>.allocate(capacity: 1)
      target.initialize(to: 0)
      defer { target.deallocate() }
      _ = machine.runBegan(now: .zero)
      for _ in 0..<200 {
        switch Int.random(in: 0..<10, using: &random) {
        case 0..<6:
          let weight = isWeighted ? Int.random(in: 0...5, using: &random) : 0
          guard case .accepted(let slot, _) = machine.offered(weight: weight, now: .zero, &effects) else { break }
          lastMessage += 1
          #expect(machine.lastNumber == lastMessage, "seed \(seed)")
          slot.initializeMemory(as: Int.self, to: lastMessage)
          weights[lastMessage] = weight
          model.accept(lastMessage)
        case 6..<9 where lastMessage > 0:
          let message = Int.random(in: max(1, lastMessage - 14)...lastMessage, using: &random)
          let isTaken = machine.withdrawn(message, to: target, now: .zero, &effects)
          let isExpected = model.withdraw(message)
          #expect(isTaken == isExpected, "seed \(seed)")
          if isTaken {
            #expect(target.pointee == message, "seed \(seed)")
            weights[message] = nil
          }
        default:
          guard case .take(let taken) = machine.workerLooks(wasWoken: false) else {
            let expected = model.take()
            #expect(expected == nil, "seed \(seed)")
            break
          }
          let base = taken.segment.base.assumingMemoryBound(to: Int.self)
          let messages = taken.range.map { base[$0] }
          let expected = model.take()
          #expect(messages == expected, "seed \(seed)")
          let weight = messages.reduce(0) { $0 + (weights[$1] ?? 0) }
          #expect(taken.weight == weight, "seed \(seed)")
          for message in messages { weights[message] = nil }
          machine.segmentEmptied(taken.segment)
          machine.attemptEnded(
            count: messages.count, handled: messages.count, weight: weight, now: .zero, &effects)
          machine.batchSettled(epoch: taken.epoch, &effects)
        }
        let ledger = machine.statistics()
        #expect(
          ledger.accepted == ledger.handled + ledger.failed + ledger.dropped + ledger.cancelled + ledger.held,
          "seed \(seed)")
        #expect(ledger.held == weights.count, "seed \(seed)")
        #expect(machine.heldWeight == weights.values.reduce(0, +), "seed \(seed)")
        if ledger.held == 0 {
          #expect(machine.deadline == nil, "seed \(seed)")
          #expect(machine.epochs.open == 0 && machine.epochs.closed.isEmpty, "seed \(seed)")
        }
      }
      machine.freeAll()
    }
  }

  @Test
  func aBatchThatAFlushClosedDoesNotGrowAgain() {
    let bench = MachineBench { $0.canBeWithdrawn = true }
    bench.run()
    for _ in 1...3 { _ = bench.offer() }
    _ = bench.on { machine, effects in machine.flushAsked(&effects) }
    let target = UnsafeMutablePointer<Int>.allocate(capacity: 1)
    target.initialize(to: 0)
    defer { target.deallocate() }
    #expect(bench.on { machine, effects in machine.withdrawn(2, to: target, now: .zero, &effects) }.answer)
    _ = bench.offer()
    #expect(bench.look() == .take(.init(messages: [1, 3], trigger: .size, number: 1, abort: nil)))
    #expect(bench.look() == .park)
  }

  @Test
  func whoWaitedForRoomIsKnownByTheNumberThatItGotInLine() {
    let bench = MachineBench {
      $0.canBeWithdrawn = true
      $0.capacity = 3
    }
    bench.run()
    for _ in 1...3 { _ = bench.offer() }
    _ = bench.wait(1)
    #expect(bench.on { machine, _ in machine.lastNumber }.answer == 4)
    #expect(bench.look() == .take(.init(messages: [1, 2, 3], trigger: .size, number: 1, abort: nil)))
    _ = bench.handled(1, count: 3)
    let target = UnsafeMutablePointer<Int>.allocate(capacity: 1)
    target.initialize(to: 0)
    defer { target.deallocate() }
    #expect(bench.on { machine, effects in machine.withdrawn(4, to: target, now: .zero, &effects) }.answer)
    #expect(target.pointee == 4)
    #expect(bench.statistics.cancelled == 1)
  }
}
