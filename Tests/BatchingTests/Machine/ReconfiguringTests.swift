import Testing

@testable import Batching

@Suite("Machine: sizes that change")
struct ReconfiguringTests {
  private func bench(slots: Int) -> MachineBench {
    let bench = MachineBench { $0.concurrency = slots }
    bench.run()
    return bench
  }

  private func reconfigure(_ bench: MachineBench, slots: Int) -> [String] {
    let tuning = Tuning(batchSize: 500, linger: .zero, concurrency: slots, capacity: nil)
    return bench.when { $0.reconfigured(tuning, capacity: 4000, now: .zero, &$1) }
  }

  @Test
  func `of two slots that look at once, one stays when there is to be one`() {
    let bench = bench(slots: 2)
    #expect(reconfigure(bench, slots: 1) == [])
    #expect(bench.look() == .leave)
    // The other one looks before that has gone.
    #expect(bench.look() == .park)
    #expect(bench.when { $0.workerLeft(&$1) } == [])
    #expect(bench.on { machine, _ in machine.workers.running }.answer == 1)
  }

  @Test
  func `a slot that is on its way out is replaced when it is wanted again`() {
    let bench = bench(slots: 2)
    #expect(reconfigure(bench, slots: 1) == [])
    #expect(bench.look() == .leave)
    #expect(reconfigure(bench, slots: 2) == [])
    #expect(bench.on { machine, _ in machine.supervisorLooks() }.answer == .act(.startWorkers(1)))
  }
}
