import AggregatorStorage
import Batching
import Testing

@testable import AggregatorService

/// Which limit is said to bind, as it would come about.
@Suite("Stream state")
struct StreamStateTests {
  private let clock = HandClock()
  private let meters: Meters
  private let meter: StreamMeter

  init() {
    meters = Meters(clock: clock.clock)
    meter = meters.meter(for: .messages)
  }

  private func limit(
    linger: Duration = .milliseconds(20), concurrency: Int = 1, capacity: Int = 10_000
  ) -> Overview.Limit {
    let settings = Overview.Settings(batchSize: 500, linger: linger, concurrency: concurrency, capacity: capacity)
    return Overview(
      of: meters, program: Overview.Program(version: "1", source: "s", target: "t", settings: settings)
    ).limit
  }

  private func store(_ messages: Int, _ trigger: Trigger, took: Duration, times: Int, rest: Duration) {
    for _ in 0..<times {
      meter.received(messages: messages)
      meter.batchBegan(messages: messages, trigger: trigger, attempt: 1, waited: .milliseconds(1))
      clock.advance(by: took)
      meter.batchEnded(messages: messages, took: took, outcome: .stored)
      clock.advance(by: rest)
    }
  }

  @Test func `nothing has come`() {
    #expect(limit().kind == .idle)
    #expect(Overview.Limit(kind: .idle, sentence: limit().sentence) == limit())
    store(10, .linger, took: .milliseconds(3), times: 1, rest: .seconds(10))
    #expect(limit().kind == .idle)
  }

  @Test func `messages wait for others`() {
    store(40, .linger, took: .milliseconds(3), times: 50, rest: .milliseconds(97))
    meter.received(messages: 12)
    #expect(limit().kind == .filling)
    #expect(
      limit().sentence
        == "Filling: a batch goes with 500 messages, or when its first is 20 ms old; lately 100 % went by age, "
        + "with 40 on average.")
  }

  @Test func `the store has what comes as it comes`() {
    store(40, .linger, took: .milliseconds(70), times: 60, rest: .milliseconds(30))
    #expect(limit().kind == .storing)
    #expect(
      limit().sentence
        == "Storing: the store keeps up; 70 % of the time it has a batch, of 40 messages on average.")
    // Without a linger nothing ever waits for others.
    clock.advance(by: .seconds(20))
    store(1, .linger, took: .milliseconds(1), times: 60, rest: .milliseconds(99))
    #expect(limit(linger: .zero).kind == .storing)
  }

  @Test func `a batch is due and the slot is taken`() {
    meter.received(messages: 1_900)
    meter.batchBegan(messages: 500, trigger: .size, attempt: 1, waited: .zero)
    #expect(limit().kind == .waiting)
    #expect(
      limit().sentence
        == "Waiting for a slot: 1,400 messages could go and the one slot is storing; the store sets the pace.")
  }

  @Test func `the slots have no rest, though batches are small`() {
    store(40, .linger, took: .milliseconds(99), times: 60, rest: .milliseconds(1))
    meter.received(messages: 60)
    meter.batchBegan(messages: 40, trigger: .linger, attempt: 1, waited: .zero)
    #expect(limit().kind == .waiting)
  }

  @Test func `an attempt has failed, until one succeeds`() {
    meter.received(messages: 10)
    meter.batchBegan(messages: 10, trigger: .size, attempt: 1, waited: .zero)
    meter.batchEnded(messages: 10, took: .milliseconds(2), outcome: .failed(reason: "postgres: no connection"))
    clock.advance(by: .seconds(3))
    #expect(limit().kind == .backingOff)
    #expect(
      limit().sentence
        == "Backing off: the last attempt failed, 3 s ago, and it will be tried again: postgres: no connection")
    meter.batchBegan(messages: 10, trigger: .size, attempt: 2, waited: .zero)
    #expect(limit().kind == .backingOff)
    meter.batchEnded(messages: 10, took: .milliseconds(2), outcome: .stored)
    #expect(limit().kind != .backingOff)
  }

  @Test func `no more is taken`() {
    meter.received(messages: 10_000)
    #expect(limit().kind == .full)
    #expect(limit().sentence.hasPrefix("Full: 10,000 of 10,000 messages are held; "))
    #expect(limit(capacity: 20_000).kind != .full)
    meter.rejected(messages: 1)
    #expect(limit(capacity: 20_000).kind == .full)
    clock.advance(by: .seconds(4))
    #expect(limit(capacity: 20_000).kind != .full)
  }

  @Test func `the whole is as badly off as its worst stream, and says which`() throws {
    let other = meters.meter(for: try StreamName("clicks"))
    store(40, .linger, took: .milliseconds(3), times: 50, rest: .milliseconds(97))
    other.received(messages: 10)
    other.batchBegan(messages: 10, trigger: .size, attempt: 1, waited: .zero)
    other.batchEnded(messages: 10, took: .milliseconds(2), outcome: .failed(reason: "no"))
    #expect(limit().kind == .backingOff)
    #expect(limit().stream == "clicks")
  }

  @Test func `where none is in trouble, the whole is told of all together`() throws {
    let other = meters.meter(for: try StreamName("clicks"))
    for _ in 0..<50 {
      other.received(messages: 100)
      other.batchBegan(messages: 100, trigger: .size, attempt: 1, waited: .zero)
      other.batchEnded(messages: 100, took: .milliseconds(1), outcome: .stored)
      store(40, .linger, took: .milliseconds(3), times: 1, rest: .milliseconds(97))
    }
    #expect(limit().stream == nil)
    #expect(limit().kind == .filling)
    #expect(limit().sentence.hasSuffix("lately 50 % went by age, with 70 on average."), "\(limit().sentence)")
  }
}
