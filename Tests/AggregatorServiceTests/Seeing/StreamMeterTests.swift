import AggregatorStorage
import Batching
import Testing

@testable import AggregatorService

@Suite("Stream meter")
struct StreamMeterTests {
  private let clock = HandClock()
  private let meter: StreamMeter

  init() {
    meter = StreamMeter(name: .messages, clock: clock.clock)
  }

  private func addsUp() -> Bool {
    let counts = meter.reading().counts
    return counts.received + counts.recovered == counts.stored + counts.refused + counts.held
  }

  private func store(_ messages: Int, _ trigger: Trigger = .size, took: Duration = .milliseconds(2)) {
    meter.batchBegan(messages: messages, trigger: trigger, attempt: 1, waited: .milliseconds(5))
    clock.advance(by: took)
    meter.batchEnded(messages: messages, took: took, outcome: .stored)
  }

  @Test func `what happens to messages is counted where it happens, and adds up`() {
    meter.recovered(messages: 3)
    meter.received(messages: 10)
    meter.rejected(messages: 4)
    #expect(meter.reading().counts.held == 13 && addsUp())
    meter.batchBegan(messages: 8, trigger: .linger, attempt: 1, waited: .milliseconds(20))
    #expect(meter.reading().counts.inFlight == 8)
    #expect(meter.reading().waiting == 5)
    meter.batchEnded(messages: 8, took: .milliseconds(3), outcome: .partly(stored: 5, reason: "a key is there already"))
    #expect(meter.reading().counts.stored == 5 && addsUp())
    meter.refused(messages: 3)
    let counts = meter.reading().counts
    #expect(counts.refused == 3 && counts.rejected == 4 && counts.held == 5 && counts.inFlight == 0 && addsUp())
    #expect(counts.batches == [.linger: 1])
  }

  @Test func `a batch that is tried again is one batch, with retries, and one row`() throws {
    meter.received(messages: 5)
    for attempt in 1...3 {
      meter.batchBegan(messages: 5, trigger: .size, attempt: attempt, waited: .milliseconds(7 * attempt))
      clock.advance(by: .milliseconds(2))
      meter.batchEnded(
        messages: 5, took: .milliseconds(2), outcome: attempt < 3 ? .failed(reason: "no connection") : .stored)
      #expect(meter.reading().backsOff == (attempt < 3))
      #expect(meter.reading().failure?.streak == (attempt < 3 ? attempt : 0))
      clock.advance(by: .milliseconds(50))
    }
    let reading = meter.reading()
    #expect(reading.counts.batches == [.size: 1])
    #expect(reading.counts.retries == 2)
    #expect(reading.waitCount == 1 && reading.handlerCount == 3)
    let row = try #require(reading.recent.first)
    #expect(reading.recent.count == 1)
    #expect(row.attempts == 3 && row.outcome == .stored && row.began == .milliseconds(104))
  }

  @Test func `calls that overlap are told apart, and the newest twenty are kept`() {
    meter.received(messages: 1_000)
    meter.batchBegan(messages: 5, trigger: .linger, attempt: 1, waited: .zero)
    meter.batchBegan(messages: 7, trigger: .flush, attempt: 1, waited: .zero)
    meter.batchEnded(messages: 7, took: .milliseconds(1), outcome: .stored)
    meter.batchEnded(messages: 5, took: .milliseconds(2), outcome: .refused(reason: "no such table"))
    #expect(meter.reading().recent.map(\.trigger) == [.linger, .flush])
    #expect(meter.reading().recent.map(\.outcome) == [.refused, .stored])
    #expect(meter.reading().counts.inFlight == 0)
    #expect(!meter.reading().backsOff)
    for number in 1...30 { store(number) }
    #expect(meter.reading().recent.map(\.messages) == Array((11...30).reversed()))
  }

  @Test func `rates are of the last five complete seconds`() {
    for _ in 0..<10 {
      meter.received(messages: 100)
      clock.advance(by: .seconds(1))
    }
    #expect(meter.reading().perSecond(\.received) == 100)
    #expect(meter.reading().lastSecond.received == 100)
    // The second that goes on is not counted.
    meter.received(messages: 5_000)
    #expect(meter.reading().perSecond(\.received) == 100)
    clock.advance(by: .seconds(3))
    #expect(meter.reading().perSecond(\.received) == (5_000 + 200) / 5)
    clock.advance(by: .seconds(1_000))
    #expect(meter.reading().perSecond(\.received) == 0)
  }

  @Test func `how busy the store is comes from calls that go on, too`() {
    meter.received(messages: 2)
    clock.advance(by: .milliseconds(500))
    meter.batchBegan(messages: 1, trigger: .size, attempt: 1, waited: .zero)
    clock.advance(by: .milliseconds(1_000))
    meter.batchBegan(messages: 1, trigger: .size, attempt: 1, waited: .zero)
    clock.advance(by: .milliseconds(2_500))
    // Half a second, one and a half, two, two.
    #expect(abs(meter.reading().lastSeconds.busy - 6) < 0.000_001)
    #expect(meter.reading().secondsSeen == 4)
    meter.batchEnded(messages: 1, took: .milliseconds(3_500), outcome: .stored)
    meter.batchEnded(messages: 1, took: .milliseconds(2_500), outcome: .stored)
    clock.advance(by: .seconds(600))
    #expect(meter.reading().busy == 0)
  }

  @Test func `a clock that is read before the lock was got does no harm`() {
    let times = [Duration.seconds(2), .seconds(1), .seconds(3)]
    var state = MeterState(stream: "a")
    for time in times {
      state.advance(to: time)
      state.received(1)
    }
    #expect(state.seconds.last(120).map(\.received) == [0, 0, 2])
    #expect(state.counts.received == 3)
  }

  @Test func `the last two minutes are kept, no more`() {
    for number in 0..<300 {
      meter.received(messages: number)
      clock.advance(by: .seconds(1))
    }
    let history = meter.history()
    #expect(history.number == 300)
    #expect(history.seconds.map(\.received) == Array(180..<300))
  }

  @Test func `reasons are cut, and an end that was never told cannot make it grow`() {
    meter.received(messages: 5_000)
    for _ in 0..<3_000 { meter.batchBegan(messages: 1, trigger: .size, attempt: 1, waited: .zero) }
    #expect(meter.reading().openBatches == 1_024)
    meter.batchEnded(messages: 1, took: .zero, outcome: .failed(reason: String(repeating: "x", count: 10_000)))
    #expect(meter.reading().failure?.reason.count == 301)
  }

  @Test func `many threads may use it at once`() async {
    let meters = Meters(clock: .starting(at: 0))
    await withTaskGroup(of: Void.self) { group in
      for _ in 0..<8 {
        group.addTask {
          for _ in 0..<2_000 {
            let meter = meters.meter(for: .messages)
            meter.received(messages: 3)
            meter.batchBegan(messages: 3, trigger: .size, attempt: 1, waited: .microseconds(5))
            meter.batchEnded(messages: 3, took: .microseconds(1), outcome: .stored)
          }
        }
      }
      for _ in 0..<200 {
        let counts = meters.meter(for: .messages).reading().counts
        #expect(counts.received == counts.stored + counts.held)
      }
    }
    let counts = meters.meter(for: .messages).reading().counts
    #expect(counts.stored == 48_000 && counts.held == 0 && counts.inFlight == 0)
    #expect(meters.all.count == 1)
  }
}
