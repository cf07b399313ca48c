import Testing

@testable import Batching

@Suite("Machine: due batches, workers and the timer")
struct DueTests {
  @Test func `a due batch grows until a slot takes it`() {
    let bench = MachineBench()
    bench.run()
    _ = bench.offer()
    #expect(bench.when { $0.timerFired(now: .milliseconds(10), &$1) } == [])
    _ = bench.offer()
    #expect(bench.look() == .take(.init(messages: [1, 2], trigger: .linger, number: 1, abort: nil)))
  }

  @Test func `what first made a batch due stays its trigger`() {
    let bench = MachineBench()
    bench.run()
    _ = bench.offer()
    _ = bench.when { $0.timerFired(now: .milliseconds(10), &$1) }
    #expect(bench.offer(count: 2).answer == 2)
    #expect(bench.look() == .take(.init(messages: [1, 2, 3], trigger: .linger, number: 1, abort: nil)))
    #expect(bench.statistics.batches[.linger] == 1)
    #expect(bench.statistics.batches[.size] == 0)
  }

  @Test func `with no linger the first message wakes a worker`() {
    let bench = MachineBench { $0.linger = .zero }
    bench.run()
    #expect(bench.park("a"))
    #expect(bench.offer() == .init(answer: .accepted, woken: ["a look"]))
    #expect(bench.offer() == .init(answer: .accepted, woken: []))
    #expect(bench.deadline == nil)
    #expect(bench.look(wasWoken: true) == .take(.init(messages: [1, 2], trigger: .linger, number: 1, abort: nil)))
  }

  @Test func `no more workers are woken than there are batches that nobody is on the way to`() {
    let bench = MachineBench {
      $0.batchSize = 1
      $0.concurrency = 3
    }
    bench.run()
    for name in ["a", "b", "c"] { #expect(bench.park(name)) }
    #expect(bench.offer().woken == ["c look"])
    #expect(bench.offer().woken == ["b look"])
    #expect(bench.look(wasWoken: true) != .park)
    #expect(bench.look() != .park)
    // Its batch was taken by another: it parks again, and is there for the next.
    #expect(bench.look(wasWoken: true) == .park)
    #expect(bench.park("b"))
    #expect(bench.offer(count: 3).woken == ["b look", "a look"])
  }

  @Test func `a worker that found nothing hears of the next batch that is due, and of no other`() {
    let bench = MachineBench {
      $0.concurrency = 2
      $0.capacity = 9
    }
    bench.run()
    #expect(bench.offer(count: 3).answer == 3)
    #expect(bench.look() != .park)
    #expect(bench.look() == .park)
    let heard = bench.strokes
    #expect(bench.rung == heard)
    #expect(bench.offer(count: 2).answer == 2)
    #expect(bench.rung == heard)
    #expect(bench.offer().answer == .accepted)
    #expect(bench.rung == heard + 1)
    #expect(bench.look() != .park)
    #expect(bench.offer().answer == .accepted)
    _ = bench.when { $0.timerFired(now: .milliseconds(10), &$1) }
    #expect(bench.rung == heard + 2)
  }

  @Test func `a worker does not park while there is a batch, nor after the end`() {
    let bench = MachineBench()
    bench.run()
    #expect(bench.look() == .park)
    _ = bench.offer(count: 3)
    #expect(!bench.park("late"))
    _ = bench.look()
    _ = bench.when { $0.shutdownAsked(now: .zero, &$1) }
    #expect(!bench.park("later"))
    #expect(bench.look() == .end)
  }

  // MARK: The timer

  @Test func `the timer parks without a deadline and wakes with the first`() {
    let bench = MachineBench()
    bench.run()
    #expect(bench.on { machine, _ in machine.timerLooks() }.answer == .park)
    #expect(bench.on { machine, _ in machine.timerParks("timer") }.answer)
    #expect(bench.offer(at: .seconds(1)).woken == ["timer look"])
    #expect(bench.offer(at: .seconds(1)).woken == [])
    let deadline = Duration.seconds(1) + .milliseconds(10)
    #expect(bench.on { machine, _ in machine.timerLooks() }.answer == .sleep(until: deadline))
    #expect(bench.on { machine, _ in machine.timerSleeps("sleep") }.answer)
  }

  @Test func `a deadline that comes between looking and parking is not missed`() {
    let bench = MachineBench()
    bench.run()
    #expect(bench.on { machine, _ in machine.timerLooks() }.answer == .park)
    _ = bench.offer()
    #expect(!bench.on { machine, _ in machine.timerParks("timer") }.answer)
  }

  @Test func `a batch that closes early does not end the sleep, and the next one is timed from its own first message`()
  {
    let bench = MachineBench()
    bench.run()
    _ = bench.offer(at: .zero)
    #expect(bench.on { machine, _ in machine.timerLooks() }.answer == .sleep(until: .milliseconds(10)))
    #expect(bench.on { machine, _ in machine.timerSleeps("sleep") }.answer)
    #expect(bench.offer(count: 2, at: .milliseconds(1)).woken == [])
    #expect(bench.offer(at: .milliseconds(4)).woken == [])
    #expect(bench.when { $0.timerFired(now: .milliseconds(10), &$1) } == ["sleep look"])
    #expect(bench.on { machine, _ in machine.timerLooks() }.answer == .sleep(until: .milliseconds(14)))
    _ = bench.look()
    #expect(bench.look() == .park)
  }

  @Test func `a timer that wakes too early makes nothing due`() {
    let bench = MachineBench()
    bench.run()
    _ = bench.offer(at: .milliseconds(1))
    _ = bench.on { machine, _ in machine.timerLooks() }
    #expect(bench.when { $0.timerFired(now: .milliseconds(10), &$1) } == [])
    #expect(bench.look() == .park)
    #expect(bench.on { machine, _ in machine.timerLooks() }.answer == .sleep(until: .milliseconds(11)))
  }

  @Test func `a drain deadline that is earlier ends the sleep`() {
    let bench = MachineBench {
      $0.linger = .seconds(60)
      $0.drainTimeout = .seconds(1)
    }
    bench.run()
    _ = bench.offer()
    #expect(bench.on { machine, _ in machine.timerLooks() }.answer == .sleep(until: .seconds(60)))
    #expect(bench.on { machine, _ in machine.timerSleeps("sleep") }.answer)
    #expect(bench.when { $0.shutdownAsked(now: .seconds(2), &$1) } == ["sleep look"])
    #expect(bench.on { machine, _ in machine.timerLooks() }.answer == .sleep(until: .seconds(3)))
  }

  @Test func `a sleep that is over before its continuation came is not waited for`() {
    let bench = MachineBench()
    bench.run()
    _ = bench.offer()
    _ = bench.on { machine, _ in machine.timerLooks() }
    _ = bench.when { $0.timerFired(now: .milliseconds(10), &$1) }
    #expect(!bench.on { machine, _ in machine.timerSleeps("sleep") }.answer)
  }

  @Test func `the timer ends with the last worker`() {
    let bench = MachineBench { $0.drainTimeout = .seconds(1) }
    bench.run()
    _ = bench.when { $0.shutdownAsked(now: .zero, &$1) }
    #expect(bench.on { machine, _ in machine.timerLooks() }.answer == .sleep(until: .seconds(1)))
    #expect(bench.on { machine, _ in machine.timerSleeps("sleep") }.answer)
    #expect(bench.look() == .end)
    #expect(bench.when { $0.workerEnded(&$1) } == ["sleep look"])
    #expect(bench.on { machine, _ in machine.timerLooks() }.answer == .end)
  }
}
