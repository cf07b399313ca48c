import Testing

@testable import Batching

@Suite("Machine: settling and flush")
struct SettlingTests {
  @Test func `each fate is counted where it happens`() {
    let bench = MachineBench()
    _ = bench.offer(count: 3)
    _ = bench.look()
    #expect(bench.statistics.inFlight == 3)
    // One is handled, two are tried again, and one of them is given up.
    #expect(bench.when { $0.attemptEnded(count: 3, handled: 1, weight: 0, now: .zero, &$1) } == [])
    #expect(bench.statistics.inFlight == 0)
    #expect(bench.on { machine, _ in machine.attemptBegan(count: 2, isHalf: false) }.answer == nil)
    #expect(bench.statistics.inFlight == 2)
    #expect(bench.when { $0.attemptEnded(count: 2, handled: 1, weight: 0, now: .zero, &$1) } == [])
    #expect(bench.statistics.held == 1)
    #expect(bench.when { $0.failuresSaved(count: 1, weight: 0, now: .zero, &$1) } == [])
    var expected = AggregatorStatistics()
    expected.accepted = 3
    expected.handled = 2
    expected.failed = 1
    expected.retries = 1
    expected.batches[.size] = 1
    #expect(bench.statistics == expected)
  }

  @Test func `a half is a batch of its own`() {
    let bench = MachineBench()
    _ = bench.offer(count: 3)
    _ = bench.look()
    _ = bench.on { machine, _ in machine.attemptBegan(count: 1, isHalf: true) }
    #expect(bench.statistics.batches[.split] == 1)
    #expect(bench.statistics.retries == 1)
  }

  @Test func `weight leaves with the messages`() {
    let bench = MachineBench { $0.maximumHeldWeight = 10 }
    _ = bench.offer(weight: 4)
    _ = bench.offer(weight: 6)
    #expect(bench.offer(weight: 1).answer == .full)
    _ = bench.on { $0.flushAsked(&$1) }
    _ = bench.look()
    _ = bench.when { $0.attemptEnded(count: 2, handled: 1, weight: 4, now: .zero, &$1) }
    #expect(bench.heldWeight == 6)
    #expect(bench.offer(weight: 4).answer == .accepted)
  }

  // MARK: Flush

  @Test func `with nothing held a flush waits for nothing`() {
    let bench = MachineBench()
    #expect(bench.on { $0.flushAsked(&$1) } == .init(answer: nil, woken: []))
  }

  @Test func `a flush makes the open batch due and closes it`() {
    let bench = MachineBench()
    bench.run()
    #expect(bench.park("worker"))
    _ = bench.offer()
    #expect(bench.on { $0.flushAsked(&$1) } == .init(answer: 0, woken: ["worker look"]))
    #expect(bench.on { machine, _ in machine.flusherWaits(0, "flusher") }.answer == nil)
    _ = bench.offer()
    #expect(bench.look(wasWoken: true) == .take(.init(messages: [1], trigger: .flush, number: 1, abort: nil)))
    #expect(bench.handled(1, count: 1) == ["flusher settled"])
  }

  @Test func `later messages do not delay a flush, and earlier ones hold it`() {
    let bench = MachineBench {
      $0.batchSize = 1
      $0.concurrency = 3
    }
    _ = bench.offer(count: 2)
    let flush = bench.on { $0.flushAsked(&$1) }.answer
    #expect(flush == 0)
    #expect(bench.on { machine, _ in machine.flusherWaits(0, "flusher") }.answer == nil)
    _ = bench.offer()
    for _ in 1...3 { _ = bench.look() }
    #expect(bench.handled(3, count: 1) == [])
    #expect(bench.handled(2, count: 1) == [])
    #expect(bench.handled(1, count: 1) == ["flusher settled"])
  }

  @Test func `flushes that wait for the same end together, one that has nothing of its own waits for the one before`() {
    let bench = MachineBench { $0.batchSize = 1 }
    _ = bench.offer()
    for id in 0..<2 {
      #expect(bench.on { $0.flushAsked(&$1) }.answer == id)
      #expect(bench.on { machine, _ in machine.flusherWaits(id, "flusher \(id)") }.answer == nil)
    }
    _ = bench.look()
    #expect(bench.handled(1, count: 1) == ["flusher 0 settled", "flusher 1 settled"])
    #expect(bench.on { $0.flushAsked(&$1) }.answer == nil)
  }

  @Test func `a flush that is over before its continuation came learns so`() {
    let bench = MachineBench { $0.batchSize = 1 }
    _ = bench.offer()
    _ = bench.on { $0.flushAsked(&$1) }
    _ = bench.look()
    #expect(bench.handled(1, count: 1) == [])
    #expect(bench.on { machine, _ in machine.flusherWaits(0, "flusher") }.answer == .settled)
  }

  @Test func `a cancelled flush leaves the line, before and after it brought its continuation`() {
    let bench = MachineBench { $0.batchSize = 1 }
    _ = bench.offer()
    _ = bench.on { $0.flushAsked(&$1) }
    _ = bench.on { $0.flushAsked(&$1) }
    #expect(bench.when { $0.flusherCancelled(0, &$1) } == [])
    #expect(bench.on { machine, _ in machine.flusherWaits(0, "early") }.answer == .cancelled(admitted: 0))
    #expect(bench.on { machine, _ in machine.flusherWaits(1, "late") }.answer == nil)
    #expect(bench.when { $0.flusherCancelled(1, &$1) } == ["late cancelled(admitted: 0)"])
    #expect(bench.when { $0.flusherCancelled(1, &$1) } == [])
    _ = bench.look()
    #expect(bench.handled(1, count: 1) == [])
  }
}
