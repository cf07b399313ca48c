import Testing

@testable import Batching

@Suite("Machine: beginning and end")
struct LifecycleTests {
  @Test func `it runs once`() {
    let bench = MachineBench()
    bench.run()
    #expect(!bench.on { machine, _ in machine.runBegan(now: .zero) }.answer)
  }

  @Test func `a shutdown closes the open batch and wakes every worker`() {
    let bench = MachineBench { $0.concurrency = 2 }
    bench.run()
    #expect(bench.park("a"))
    #expect(bench.park("b"))
    _ = bench.offer()
    #expect(bench.when { $0.shutdownAsked(now: .zero, &$1) } == ["b look", "a look"])
    #expect(bench.when { $0.shutdownAsked(now: .zero, &$1) } == [])
    #expect(
      bench.look(wasWoken: true) == .take(.init(messages: [1], trigger: .shutdown, number: 1, abort: nil)))
    #expect(bench.look(wasWoken: true) == .end)
    #expect(bench.offer().answer == .closed)
  }

  @Test func `the supervisor goes on when the last worker has ended`() {
    let bench = MachineBench { $0.concurrency = 2 }
    bench.run()
    #expect(bench.on { machine, _ in machine.supervisorLooks() }.answer == .park)
    #expect(bench.on { machine, _ in machine.supervisorParks("run") }.answer)
    _ = bench.when { $0.shutdownAsked(now: .zero, &$1) }
    #expect(bench.when { $0.workerEnded(&$1) } == [])
    #expect(bench.when { $0.workerEnded(&$1) } == ["run look"])
    #expect(bench.on { machine, _ in machine.supervisorLooks() }.answer == .end)
  }

  @Test func `an order that comes before the supervisor parks is not missed`() {
    let bench = MachineBench()
    bench.run()
    #expect(bench.on { machine, _ in machine.supervisorLooks() }.answer == .park)
    _ = bench.when { $0.abort(.runCancelled, &$1) }
    #expect(!bench.on { machine, _ in machine.supervisorParks("run") }.answer)
    #expect(bench.on { machine, _ in machine.supervisorLooks() }.answer == .act(.cancelHandlers))
  }

  @Test func `past the drain timeout handlers are cancelled and batches given up`() {
    let bench = MachineBench {
      $0.batchSize = 1
      $0.drainTimeout = .seconds(1)
    }
    bench.run()
    _ = bench.on { machine, _ in machine.supervisorParks("run") }
    _ = bench.offer(count: 2)
    #expect(bench.look() == .take(.init(messages: [1], trigger: .size, number: 1, abort: nil)))
    _ = bench.when { $0.shutdownAsked(now: .seconds(5), &$1) }
    #expect(bench.on { machine, _ in machine.timerLooks() }.answer == .sleep(until: .seconds(6)))
    #expect(bench.when { $0.timerFired(now: .seconds(6), &$1) } == ["run look"])
    #expect(bench.on { machine, _ in machine.supervisorLooks() }.answer == .act(.cancelHandlers))
    #expect(bench.on { machine, _ in machine.attemptBegan(count: 1, isHalf: false) }.answer == .drainTimedOut)
    #expect(
      bench.look() == .take(.init(messages: [2], trigger: .size, number: 2, abort: .drainTimedOut)))
    #expect(bench.statistics.inFlight == 1)
    #expect(bench.on { machine, _ in machine.timerLooks() }.answer == .end)
  }

  @Test func `shut down before it runs, it drains from the start of the run`() {
    let bench = MachineBench { $0.drainTimeout = .seconds(1) }
    _ = bench.offer()
    _ = bench.when { $0.shutdownAsked(now: .zero, &$1) }
    bench.run(at: .seconds(100))
    #expect(bench.on { machine, _ in machine.timerLooks() }.answer == .sleep(until: .seconds(101)))
    #expect(bench.look() == .take(.init(messages: [1], trigger: .shutdown, number: 1, abort: nil)))
    #expect(bench.look() == .end)
  }

  @Test func `a cancelled run stops accepting and gives up what has not started`() {
    let bench = MachineBench()
    bench.run()
    _ = bench.offer()
    _ = bench.wait(1)
    _ = bench.on { machine, _ in machine.senderAttached(0, "sender") }
    #expect(bench.when { $0.abort(.runCancelled, &$1) } == ["sender closed(admitted: 0)"])
    #expect(
      bench.look() == .take(.init(messages: [1], trigger: .shutdown, number: 1, abort: .runCancelled)))
    #expect(bench.look() == .end)
    #expect(bench.when { $0.abort(.drainTimedOut, &$1) } == [])
    #expect(bench.on { machine, _ in machine.abortReason }.answer == .runCancelled)
  }

  @Test func `after the end a flush waits for nothing and offers are refused`() {
    let bench = MachineBench()
    bench.run()
    _ = bench.when { $0.shutdownAsked(now: .zero, &$1) }
    _ = bench.when { $0.workerEnded(&$1) }
    _ = bench.when { machine, _ in machine.runEnded() }
    #expect(bench.on { $0.flushAsked(&$1) }.answer == nil)
    #expect(bench.offer().answer == .closed)
  }
}
