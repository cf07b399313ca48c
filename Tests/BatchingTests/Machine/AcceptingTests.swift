import Testing

@testable import Batching

@Suite("Machine: accepting")
struct AcceptingTests {
  @Test func `the first message opens a batch and sets its deadline from the clock`() {
    let bench = MachineBench()
    #expect(bench.offer(at: .seconds(5)) == .init(answer: .accepted, woken: []))
    #expect(bench.deadline == .seconds(5) + .milliseconds(10))
    #expect(bench.statistics.accepted == 1)
    #expect(bench.statistics.held == 1)
  }

  @Test func `the clock is asked for the first message of a batch and for no other`() {
    var asked = 0
    func now() -> Duration {
      asked += 1
      return .zero
    }
    let bench = MachineBench()
    for _ in 0..<6 {
      _ = bench.when { machine, effects in
        if case .accepted(let slot, _) = machine.offered(now: now(), &effects) {
          slot.initializeMemory(as: Int.self, to: 0)
        }
      }
    }
    #expect(asked == 2)
  }

  @Test func `a full batch is closed and wakes one worker`() {
    let bench = MachineBench()
    bench.run()
    #expect(bench.look() == .park)
    #expect(bench.park("a"))
    #expect(bench.offer().woken == [])
    #expect(bench.offer().woken == [])
    #expect(bench.offer() == .init(answer: .accepted, woken: ["a look"]))
    #expect(bench.deadline == nil)
    #expect(
      bench.look(wasWoken: true) == .take(.init(messages: [1, 2, 3], trigger: .size, number: 1, abort: nil)))
  }

  @Test func `batch size one closes each message by itself`() {
    let bench = MachineBench { $0.batchSize = 1 }
    #expect(bench.offer().answer == .accepted)
    #expect(bench.deadline == nil)
    #expect(bench.offer().answer == .accepted)
    #expect(bench.look() == .take(.init(messages: [1], trigger: .size, number: 1, abort: nil)))
    #expect(bench.look() == .take(.init(messages: [2], trigger: .size, number: 2, abort: nil)))
    #expect(bench.look() == .park)
  }

  @Test func `beyond capacity an offer finds no room until something is settled`() {
    let bench = MachineBench { $0.capacity = 3 }
    #expect(bench.offer(count: 5) == .init(answer: 3, woken: []))
    #expect(bench.offer() == .init(answer: .full, woken: []))
    #expect(bench.look() == .take(.init(messages: [1, 2, 3], trigger: .size, number: 1, abort: nil)))
    #expect(bench.offer().answer == .full)
    #expect(bench.handled(1, count: 3) == [])
    #expect(bench.offer().answer == .accepted)
  }

  @Test func `offers of many fill batches side by side`() {
    let bench = MachineBench()
    #expect(bench.offer(count: 5) == .init(answer: 5, woken: []))
    #expect(bench.look() == .take(.init(messages: [1, 2, 3], trigger: .size, number: 1, abort: nil)))
    #expect(bench.look() == .park)
    #expect(bench.statistics.held == 5)
  }

  @Test func `the hot path stops before the first message, the last one, and the bound on capacity`() {
    let bench = MachineBench {
      $0.batchSize = 4
      $0.capacity = 6
    }
    #expect(bench.append(atMost: 9) == 0)
    _ = bench.offer()
    #expect(bench.append(atMost: 9) == 2)
    #expect(bench.statistics.accepted == 3)
    _ = bench.offer()
    #expect(bench.append(atMost: 9) == 0)
    _ = bench.offer()
    #expect(bench.append(atMost: 9) == 1)
    #expect(bench.offer().answer == .full)
    #expect(bench.statistics.held == 6)
  }

  @Test func `the hot path is shut while senders wait, and after a shutdown`() {
    let bench = MachineBench()
    _ = bench.offer()
    _ = bench.wait(1)
    #expect(bench.append(atMost: 1) == 0)
    let other = MachineBench()
    _ = other.offer()
    _ = other.when { $0.shutdownAsked(now: .zero, &$1) }
    #expect(other.append(atMost: 1) == 0)
    #expect(other.offer().answer == .closed)
  }

  @Test func `a batch is closed by weight, at the limit or before it would be passed`() {
    let bench = MachineBench { $0.maximumBatchWeight = 10 }
    #expect(bench.offer(weight: 10).answer == .accepted)
    #expect(bench.offer(weight: 6).answer == .accepted)
    #expect(bench.offer(weight: 5).answer == .accepted)
    #expect(bench.look() == .take(.init(messages: [1], trigger: .weight, number: 1, abort: nil)))
    #expect(bench.look() == .take(.init(messages: [2], trigger: .weight, number: 2, abort: nil)))
    #expect(bench.look() == .park)
    #expect(bench.heldWeight == 21)
  }

  @Test func `what is heavier than a batch or than all that is held is refused`() {
    let bench = MachineBench {
      $0.maximumBatchWeight = 10
      $0.maximumHeldWeight = 12
    }
    #expect(bench.offer(weight: 11) == .init(answer: .tooHeavy, woken: []))
    #expect(bench.offer(weight: 8).answer == .accepted)
    #expect(bench.offer(weight: 5).answer == .full)
    #expect(bench.offer(weight: 4).answer == .accepted)
    #expect(bench.statistics.held == 2)
  }

  @Test func `a large batch size takes memory as messages come`() {
    let bench = MachineBench {
      $0.batchSize = 1_000_000_000
      $0.capacity = 1_000_000_000
    }
    #expect(bench.offer(count: 100_000).answer == 100_000)
    _ = bench.when { $0.shutdownAsked(now: .zero, &$1) }
    #expect(
      bench.look()
        == .take(.init(messages: Array(1...100_000), trigger: .shutdown, number: 1, abort: nil)))
  }
}
