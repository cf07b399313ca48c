import AggregatorStorage
import Batching
import Foundation
import Testing

@testable import AggregatorService

@Suite("Overview")
struct OverviewTests {
  private let clock = HandClock()

  private func program() -> Overview.Program {
    Overview.Program(
      version: "1.2", source: "http://127.0.0.1:8080", target: "sqlite:a.db",
      settings: Overview.Settings(batchSize: 500, linger: .microseconds(1_500), concurrency: 2, capacity: 1_000))
  }

  @Test func `its fields have the names that are documented`() throws {
    let meters = Meters(clock: clock.clock)
    let meter = meters.meter(for: .messages)
    meter.received(messages: 4)
    meter.batchBegan(messages: 3, trigger: .flush, attempt: 1, waited: .milliseconds(5))
    clock.advance(by: .milliseconds(1_250))
    meter.batchEnded(messages: 3, took: .milliseconds(1_250), outcome: .stored)
    let overview = Overview(of: meters, program: program())
    let text = String(decoding: try overview.json(), as: UTF8.self)
    // Quantiles are of buckets; all else is exact.
    let exact = text.replacing(/"p(50|90|99)":[0-9.]+/) { "\"p\($0.1)\":0" }
    let numbers = """
      {"backingOff":false,"batches":{"flush":1,"linger":0,"shutdown":0,"size":0,"split":0,"weight":0},"busy":1,\
      "handlerMilliseconds":{"count":1,"p50":0,"p90":0,"p99":0,"sum":1250},"held":1,"inFlight":0,"lastFailure":null,\
      "lastSecond":{"received":4,"stored":0},"meanBatch":3,"received":4,"receivedPerSecond":4,"recentBatches":[{"attempts":1,\
      "messages":3,"milliseconds":1250,"outcome":"stored","stream":"messages","time":1000000,"trigger":"flush"}],\
      "recovered":0,"refused":0,"rejected":0,"retries":0,"stored":3,"storedPerSecond":0,"waitMilliseconds":{"count":1,"p50":0,\
      "p90":0,"p99":0,"sum":5}}
      """
    #expect(
      exact == """
        {"connections":null,"deadLetters":null,"held":1,"journal":null,"limit":{"kind":"filling","sentence":"\(filling)",\
        "stream":null},"log":null,"second":0,"settings":{"batchSize":500,"capacity":1000,"concurrency":2,"lingerMilliseconds":1.5},\
        "source":"http://127.0.0.1:8080","state":"running","streams":[{"limit":{"kind":"filling","sentence":"\(filling)"},\
        "name":"messages","numbers":\(numbers)}],"target":"sqlite:a.db","time":1000001.25,"totals":\(numbers),"uptime":1.25,\
        "version":"1.2"}
        """)
  }

  private let filling =
    "Filling: a batch goes with 500 messages, or when its first is 1.5 ms old; lately 0 % went by age, with 3 on average."

  @Test func `what is written can be read again`() throws {
    let meters = Meters(clock: clock.clock)
    meters.meter(for: .messages).received(messages: 1)
    var program = program()
    program.state = .draining
    program.held = 7
    program.journal = Overview.Journal(messages: 2, bytes: 100, maximumBytes: 1_000, oldestSeconds: 0.5)
    program.deadLetters = 3
    program.connections = 64
    program.log = Overview.Log(LogLag())
    let overview = Overview(of: meters, program: program)
    #expect(overview.held == 7)
    #expect(try JSONDecoder().decode(Overview.self, from: try overview.json()) == overview)
  }

  @Test func `the total is the sum of the streams`() throws {
    let meters = Meters(clock: clock.clock)
    for (index, name) in ["b", "a", "c"].enumerated() {
      let meter = meters.meter(for: try StreamName(name))
      meter.received(messages: 10 * (index + 1))
      meter.batchBegan(messages: 5, trigger: .size, attempt: 1, waited: .milliseconds(index))
      clock.advance(by: .seconds(1))
      meter.batchEnded(messages: 5, took: .seconds(1), outcome: index == 1 ? .failed(reason: "no") : .stored)
    }
    let overview = Overview(of: meters, program: program())
    #expect(overview.streams.map(\.name) == ["a", "b", "c"])
    #expect(overview.totals.received == 60 && overview.totals.stored == 10 && overview.totals.held == 50)
    #expect(overview.totals.batches["size"] == 3)
    #expect(overview.totals.lastFailure?.reason == "no" && overview.totals.backingOff)
    #expect(overview.totals.recentBatches.map(\.stream) == ["c", "a", "b"])
    #expect(overview.totals.handlerMilliseconds.count == 3 && overview.totals.handlerMilliseconds.sum == 3_000)
  }

  @Test func `with many streams each shows fewer of its batches`() throws {
    let meters = Meters(clock: clock.clock)
    for number in 0..<21 {
      let meter = meters.meter(for: try StreamName("s\(number)"))
      meter.received(messages: 10)
      for _ in 0..<10 {
        meter.batchBegan(messages: 1, trigger: .size, attempt: 1, waited: .zero)
        meter.batchEnded(messages: 1, took: .zero, outcome: .stored)
      }
    }
    let overview = Overview(of: meters, program: program())
    #expect(overview.streams.allSatisfy { $0.numbers.recentBatches.count == 5 })
    #expect(overview.totals.recentBatches.count == 20)
  }

  @Test func `the history has a number for each complete second, for all streams alike`() throws {
    let meters = Meters(clock: clock.clock)
    #expect(History(of: meters) == History(second: -1, totals: .init(received: [], stored: []), streams: [:]))
    meters.meter(for: .messages).received(messages: 5)
    clock.advance(by: .seconds(2))
    meters.meter(for: try StreamName("late")).received(messages: 7)
    clock.advance(by: .seconds(1))
    let history = History(of: meters)
    #expect(history.second == 2)
    #expect(history.totals.received == [5, 0, 7])
    #expect(history.streams["late"]?.received == [0, 0, 7])
    clock.advance(by: .seconds(1_000))
    #expect(History(of: meters).totals.received == [Int](repeating: 0, count: 120))
  }
}

extension History {
  fileprivate init(second: Int, totals: Series, streams: [String: Series]) {
    self.init(of: Meters(clock: MeterClock(beginning: 0) { .zero }))
    self.second = second
    self.totals = totals
    self.streams = streams
  }
}
