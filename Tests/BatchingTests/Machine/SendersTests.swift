import Testing

@testable import Batching

@Suite("Machine: waiting senders")
struct SendersTests {
  /// Three messages held in one batch that a worker has; capacity three.
  private func fullBench() -> MachineBench {
    let bench = MachineBench { $0.capacity = 3 }
    _ = bench.offer(count: 3)
    _ = bench.look()
    return bench
  }

  @Test func `room goes to those who wait, first come, first served`() {
    let bench = fullBench()
    for (id, name) in ["a", "b", "c", "d"].enumerated() {
      #expect(bench.wait(1) == id)
      #expect(bench.on { machine, _ in machine.senderAttached(id, name) }.answer == nil)
    }
    #expect(bench.statistics.waitingSenders == 4)
    #expect(bench.offer().answer == .full)
    #expect(bench.handled(1, count: 3) == ["a admitted", "b admitted", "c admitted"])
    #expect(bench.statistics.waitingSenders == 1)
    #expect(bench.look() == .take(.init(messages: [4, 5, 6], trigger: .size, number: 2, abort: nil)))
  }

  @Test func `nobody overtakes, although there may be room for one that is lighter`() {
    let bench = MachineBench { $0.maximumHeldWeight = 10 }
    _ = bench.offer(weight: 8)
    #expect(bench.offer(weight: 5).answer == .full)
    _ = bench.wait(1, weights: [5])
    #expect(bench.offer(weight: 1).answer == .full)
  }

  @Test func `a parcel is admitted piece by piece, over several batches`() {
    let bench = fullBench()
    let id = bench.wait(5)
    #expect(bench.on { machine, _ in machine.senderAttached(id, "many") }.answer == nil)
    #expect(bench.handled(1, count: 3) == [])
    #expect(bench.look() == .take(.init(messages: [4, 5, 6], trigger: .size, number: 2, abort: nil)))
    #expect(bench.handled(2, count: 3) == ["many admitted"])
    #expect(bench.statistics.held == 2)
  }

  @Test func `admitted before its continuation came, a sender learns so`() {
    let bench = fullBench()
    let id = bench.wait(1)
    #expect(bench.handled(1, count: 3) == [])
    #expect(bench.on { machine, _ in machine.senderAttached(id, "late") }.answer == .admitted)
  }

  @Test func `a cancelled sender says how much of it was accepted`() {
    let bench = fullBench()
    let id = bench.wait(5)
    _ = bench.on { machine, _ in machine.senderAttached(id, "many") }
    _ = bench.handled(1, count: 3)
    #expect(bench.when { $0.senderCancelled(id, now: .zero, &$1) } == ["many cancelled(admitted: 3)"])
    #expect(bench.when { $0.senderCancelled(id, now: .zero, &$1) } == [])
    #expect(bench.statistics.waitingSenders == 0)
    #expect(bench.statistics.accepted == 6)
  }

  @Test func `cancelled before its continuation came, a sender learns so`() {
    let bench = fullBench()
    let id = bench.wait(1)
    #expect(bench.when { $0.senderCancelled(id, now: .zero, &$1) } == [])
    #expect(bench.on { machine, _ in machine.senderAttached(id, "late") }.answer == .cancelled(admitted: 0))
  }

  @Test func `when the first in line gives up, lighter ones behind it go in`() {
    let bench = MachineBench { $0.maximumHeldWeight = 10 }
    _ = bench.offer(weight: 8)
    let heavy = bench.wait(1, weights: [5])
    let light = bench.wait(1, weights: [2])
    _ = bench.on { machine, _ in machine.senderAttached(heavy, "heavy") }
    _ = bench.on { machine, _ in machine.senderAttached(light, "light") }
    #expect(
      bench.when { $0.senderCancelled(heavy, now: .zero, &$1) } == ["heavy cancelled(admitted: 0)", "light admitted"])
    #expect(bench.heldWeight == 10)
  }

  @Test func `one in the middle can leave, and the order of the others stays`() {
    let bench = fullBench()
    for (id, name) in ["a", "b", "c"].enumerated() {
      _ = bench.wait(1)
      _ = bench.on { machine, _ in machine.senderAttached(id, name) }
    }
    #expect(bench.when { $0.senderCancelled(1, now: .zero, &$1) } == ["b cancelled(admitted: 0)"])
    #expect(bench.handled(1, count: 3) == ["a admitted", "c admitted"])
  }

  @Test func `a shutdown refuses all who wait, and keeps what was admitted`() {
    let bench = fullBench()
    let id = bench.wait(5)
    _ = bench.on { machine, _ in machine.senderAttached(id, "many") }
    _ = bench.wait(1)
    _ = bench.handled(1, count: 3)
    #expect(bench.when { $0.shutdownAsked(now: .zero, &$1) } == ["many closed(admitted: 3)"])
    #expect(bench.on { machine, _ in machine.senderAttached(1, "late") }.answer == .closed(admitted: 0))
    #expect(bench.statistics.rejected == 2)
    #expect(bench.statistics.held == 3)
  }

  @Test func `a long line of which most leave keeps its order and its memory`() {
    let bench = fullBench()
    for id in 0..<1_000 {
      _ = bench.wait(1)
      _ = bench.on { machine, _ in machine.senderAttached(id, "\(id)") }
    }
    for id in 0..<1_000 where id % 100 != 7 {
      #expect(bench.when { $0.senderCancelled(id, now: .zero, &$1) }.count == 1)
    }
    #expect(bench.handled(1, count: 3) == ["7 admitted", "107 admitted", "207 admitted"])
    #expect(bench.statistics.waitingSenders == 7)
  }
}
