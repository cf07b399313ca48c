import BatchingTesting
import Testing

@testable import Batching

/// A backend whose calls cost something each and something for each message, and that gets slower for all once there are more
/// calls at a time than it has room for: simulated event by event, without clocks or tasks.
private struct Backend {
  var perCall = 2e-3
  var perMessage = 20e-6
  var knee = 8.0

  func time(batchSize: Int, concurrency: Int) -> Double {
    let crowding = max(1, Double(concurrency) / knee)
    return (perCall + perMessage * Double(batchSize)) * crowding * crowding
  }

  /// The best there is: as many calls as there is room for, each as long as it may take.
  func best(target: Double, largest: Int, mostSlots: Int) -> Double {
    let batchSize = min(Double(largest), (target - perCall) / perMessage)
    let slots = min(knee, Double(mostSlots))
    return slots * batchSize / (perCall + perMessage * batchSize)
  }
}

/// Slots that are never short of messages, on virtual time.
private struct Slots {
  var adaptation: Adaptation
  var backend: Backend
  var now = 0.0
  private var running: [(end: Double, began: Double, messages: Int)] = []
  private(set) var handled = 0

  init(_ adaptation: Adaptation, _ backend: Backend) {
    self.adaptation = adaptation
    self.backend = backend
  }

  /// Returns messages a second.
  mutating func work(until end: Double) -> Double {
    let begin = (now, handled)
    while now < end {
      while running.count < adaptation.size.concurrency {
        let messages = adaptation.size.batchSize
        let time = backend.time(batchSize: messages, concurrency: running.count + 1)
        running.append((now + time, now, messages))
      }
      guard let next = running.indices.min(by: { running[$0].end < running[$1].end }) else { break }
      let call = running.remove(at: next)
      now = call.end
      handled += call.messages
      _ = adaptation.callEnded(messages: call.messages, time: .seconds(call.end - call.began))
    }
    return Double(handled - begin.1) / (now - begin.0)
  }
}

@Suite("Adaptation: the most that a backend can do")
struct AdaptationTests {
  private static let target = 10e-3
  private let bounds = AdaptationPolicy.Bounds(target: .seconds(target), batchSize: 1...1000, concurrency: 1...32)

  @Test(arguments: [(1, 1), (1000, 32), (1, 32), (1000, 1), (400, 8)])
  func itFindsTheBestFromABadStart(batchSize: Int, concurrency: Int) {
    let backend = Backend()
    var slots = Slots(Adaptation(bounds, batchSize: batchSize, concurrency: concurrency), backend)
    _ = slots.work(until: 30)
    let best = backend.best(target: Self.target, largest: 1000, mostSlots: 32)
    let found = slots.work(until: 60)
    #expect(found >= 0.8 * best, "\(Int(found)) of \(Int(best)) messages a second, \(slots.adaptation.size)")
    #expect(found <= 1.1 * best)
  }

  @Test(arguments: [(8.0, 3.0), (3.0, 16.0), (16.0, 4.0), (1.0, 8.0)])
  func itFollowsWhenTheKneeMoves(from: Double, to: Double) {
    var backend = Backend(knee: from)
    var slots = Slots(Adaptation(bounds, batchSize: 1, concurrency: 1), backend)
    _ = slots.work(until: 30)
    backend.knee = to
    slots.backend = backend
    _ = slots.work(until: 60)
    let best = backend.best(target: Self.target, largest: 1000, mostSlots: 32)
    let found = slots.work(until: 90)
    #expect(found >= 0.8 * best, "\(Int(found)) of \(Int(best)) messages a second, \(slots.adaptation.size)")
  }

  @Test
  func itFollowsWhenCallsGetDearer() {
    var slots = Slots(Adaptation(bounds, batchSize: 1, concurrency: 1), Backend())
    _ = slots.work(until: 30)
    slots.backend.perMessage *= 4
    _ = slots.work(until: 60)
    let best = slots.backend.best(target: Self.target, largest: 1000, mostSlots: 32)
    #expect(slots.work(until: 90) >= 0.8 * best)
  }

  @Test
  func theBoundsAreHard() {
    let narrow = AdaptationPolicy.Bounds(target: .seconds(1), batchSize: 10...20, concurrency: 2...3)
    var slots = Slots(Adaptation(narrow, batchSize: 1, concurrency: 100), Backend())
    for second in 1...20 {
      _ = slots.work(until: Double(second))
      #expect((10...20).contains(slots.adaptation.size.batchSize))
      #expect((2...3).contains(slots.adaptation.size.concurrency))
    }
    #expect(slots.adaptation.size.batchSize == 20)
  }

  /// Where batches are not full, the senders set the pace, and there is nothing to find.
  @Test
  func nothingGrowsWhileBatchesAreNotFull() {
    var adaptation = Adaptation(bounds, batchSize: 100, concurrency: 2)
    for _ in 1...1000 { _ = adaptation.callEnded(messages: 50, time: .milliseconds(1)) }
    #expect(adaptation.size == Adaptation.Size(batchSize: 100, concurrency: 2))
    for _ in 1...200 { _ = adaptation.callEnded(messages: 50, time: .milliseconds(30)) }
    #expect(adaptation.size.batchSize < 100)
  }

  /// The aggregator itself, on virtual time, before the same backend.
  @Test
  func anAggregatorGrowsTowardsIt() async throws {
    let summary = try await simulate(seeds: 0..<2, faults: .none) { simulation in
      let clock = simulation.clock
      let running = Watched(0)
      let backend = Backend(perCall: 0.02, perMessage: 2e-3, knee: 4)
      let aggregator = try Aggregator<Int>(
        configuration: .init(
          batchSize: 1, linger: .zero, concurrency: 1,
          adaptation: .towards(handlerTime: .milliseconds(100), batchSize: 1...100, concurrency: 1...16)),
        clock: clock
      ) { batch in
        let busy = running.change { running in
          running += 1
          return running
        }
        defer { running.change { $0 -= 1 } }
        try await clock.sleep(for: .seconds(backend.time(batchSize: batch.count, concurrency: busy)))
      }
      async let run: Void = aggregator.run()
      func handled(until end: Duration) async throws -> Int {
        let before = aggregator.statistics.handled
        while clock.elapsed < end { try await aggregator.send(contentsOf: 0..<100) }
        return aggregator.statistics.handled - before
      }
      _ = try await handled(until: .seconds(60))
      let found = Double(try await handled(until: .seconds(120))) / 60
      let best = backend.best(target: 0.1, largest: 100, mostSlots: 16)
      try simulation.require(found > 0.8 * best, "\(found) of \(best) messages a second")
      aggregator.shutdown()
      try await run
    }
    #expect(summary.seeds == 2)
  }

  @Test
  func badBoundsAreRefused() {
    func error(_ configuration: AggregatorConfiguration) -> String {
      let error = #expect(throws: AggregatorError.self) { try Aggregator<Int>(configuration: configuration) { _ in } }
      return error?.message ?? ""
    }
    func policy(_ time: Duration, _ sizes: ClosedRange<Int>, _ slots: ClosedRange<Int> = 1...4) -> AdaptationPolicy {
      .towards(handlerTime: time, batchSize: sizes, concurrency: slots)
    }
    #expect(error(.init(batchSize: 5, adaptation: policy(.zero, 1...10))).contains("adaptation.handlerTime"))
    #expect(
      error(.init(batchSize: 5, adaptation: policy(.seconds(1), 0...10))).contains("adaptation.batchSize is 0...10"))
    #expect(
      error(.init(batchSize: 11, adaptation: policy(.seconds(1), 1...10))).contains("in the bounds of adaptation"))
    #expect(error(.init(batchSize: 5, capacity: 9, adaptation: policy(.seconds(1), 1...10))).contains("capacity is 9"))
    #expect(error(.init(batchSize: 5, adaptation: policy(.seconds(1), 1...10, 2...4))).contains("concurrency is 1"))
    #expect(
      error(.init(batchSize: 5, concurrency: 1, adaptation: policy(.seconds(1), 1...10, 0...4)))
        .contains("adaptation.concurrency"))
  }
}
