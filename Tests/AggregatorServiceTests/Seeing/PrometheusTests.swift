import AggregatorStorage
import Batching
import CoreMetrics
import Testing

@testable import AggregatorService

@Suite("Prometheus")
struct PrometheusTests {
  private let metrics = PrometheusMetrics()

  private func parsed() throws -> PrometheusParser {
    var text = PrometheusText()
    metrics.write(to: &text)
    return try PrometheusParser(text.text)
  }

  @Test func `each kind of metric is written as its type`() throws {
    let labels = [("path.of", "a")]
    Counter(label: "a.counter", dimensions: labels, factory: metrics).increment(by: 3)
    FloatingPointCounter(label: "a.float", dimensions: [], factory: metrics).increment(by: 1.5)
    Meter(label: "a.meter", dimensions: [], factory: metrics).set(-2.25)
    Gauge(label: "a.gauge", dimensions: [], factory: metrics).record(7)
    let recorder = Recorder(label: "a.size", dimensions: [], aggregate: true, factory: metrics)
    for value in [1, 3, 1_000_000] { recorder.record(value) }
    Recorder(label: "a.fill", dimensions: [], aggregate: true, factory: metrics).record(0.25)
    let timer = Timer(label: "a.timer", dimensions: labels, factory: metrics)
    timer.recordNanoseconds(2_000_000)
    timer.recordNanoseconds(100_000_000_000)
    let text = try parsed()
    #expect(text.value("a_counter_total", ["path_of": "a"]) == 3)
    #expect(text.value("a_float_total") == 1.5)
    #expect(text.value("a_meter") == -2.25)
    #expect(text.value("a_gauge") == 7)
    #expect(text.value("a_size_bucket", ["le": "2"]) == 1)
    #expect(text.value("a_size_bucket", ["le": "100000"]) == 2)
    #expect(text.value("a_size_bucket", ["le": "+Inf"]) == 3)
    #expect(text.value("a_size_sum") == 1_000_004)
    #expect(text.value("a_fill_bucket", ["le": "0.1"]) == 0)
    #expect(text.value("a_fill_bucket", ["le": "0.25"]) == 1)
    #expect(text.value("a_timer_seconds_bucket", ["path_of": "a", "le": "0.0025"]) == 1)
    #expect(text.value("a_timer_seconds_count", ["path_of": "a"]) == 2)
    #expect(text.value("a_timer_seconds_sum", ["path_of": "a"]) == 100.002)
    #expect(text.families["a_timer_seconds"]?.type == "histogram")
  }

  @Test func `names and labels that may not be are made so that they may`() throws {
    let label = "9 lives: ü-\"x\""
    let value = "a \"quoted\"\\ line\nand another ☃"
    Counter(label: label, dimensions: [("__name", value), ("a.b", "1"), ("a-b", "2"), ("0", "z")], factory: metrics)
      .increment()
    Timer(label: "t", dimensions: [("le", "mine")], factory: metrics).recordNanoseconds(1)
    let text = try parsed()
    #expect(text.value("_9_lives:____x__total", ["x__name": value, "a_b": "1;2", "_0": "z"]) == 1)
    #expect(text.value("t_seconds_count", ["le_": "mine"]) == 1)
  }

  @Test func `a handle that is asked for again is the same, until it is destroyed`() throws {
    let dimensions = [("a", "1"), ("b", "2")]
    let counter = Counter(label: "c", dimensions: dimensions, factory: metrics)
    counter.increment()
    Counter(label: "c", dimensions: dimensions.reversed(), factory: metrics).increment()
    Counter(label: "c", dimensions: [("a", "1")], factory: metrics).increment(by: 5)
    #expect(try parsed().value("c_total", ["a": "1", "b": "2"]) == 2)
    counter.destroy()
    let text = try parsed()
    #expect(text.value("c_total", ["a": "1", "b": "2"]) == nil)
    #expect(text.value("c_total", ["a": "1"]) == 5)
  }

  @Test func `a name that means something else already, and one series too many, are hidden and counted`() throws {
    let timer = Timer(label: "x", dimensions: [], factory: metrics)
    timer.recordNanoseconds(1)
    Meter(label: "x.seconds", dimensions: [], factory: metrics).set(1)
    Meter(label: "x.seconds.count", dimensions: [], factory: metrics).set(1)
    #expect(try parsed().value("aggregator_metrics_hidden") == 2)
    for number in 0..<PrometheusMetrics.mostSeries {
      Counter(label: "many", dimensions: [("number", "\(number)")], factory: metrics).increment()
    }
    let text = try parsed()
    #expect(text.value("aggregator_metrics_hidden") == 3)
    #expect(text.families["many_total"]?.samples.count == PrometheusMetrics.mostSeries - 1)
  }

  @Test func `what is no number is left out`() throws {
    let recorder = Recorder(label: "r", dimensions: [], aggregate: true, factory: metrics)
    recorder.record(Double.nan)
    recorder.record(Double.infinity)
    #expect(try parsed().value("r_count") == 0)
    Meter(label: "m", dimensions: [], factory: metrics).set(Double.infinity)
    #expect(try parsed().value("m") == .infinity)
  }

  @Test func `the library's own metrics come out under the documented names`() async throws {
    try await withMetricsFactory(metrics) {
      try await withAggregator(
        of: Int.self, name: "lines", configuration: AggregatorConfiguration(batchSize: 10),
        handler: { _ in }
      ) { aggregator in
        try await aggregator.send(contentsOf: 0..<25)
        try await aggregator.flush()
      }
    }
    let text = try parsed()
    let name = ["batching_aggregator": "lines"]
    #expect(text.value("batching_message_accepted_total", name) == 25)
    #expect(text.value("batching_message_handled_total", name) == 25)
    #expect(text.value("batching_message_held", name) == 0)
    #expect(
      text.value("batching_batch_taken_total", name.merging(["batching_trigger": "size"]) { $1 }) == 2)
    #expect(text.value("batching_batch_size_sum", name) == 25)
    #expect(text.value("batching_batch_wait_seconds_count", name) == 3)
    #expect(
      text.value("batching_handler_duration_seconds_count", name.merging(["batching_outcome": "success"]) { $1 })
        == 3)
    #expect(text.families["batching_batch_fill"]?.help == "The same divided by the batch size.")
  }

  @Test func `an overview has a series for each stream`() throws {
    let clock = HandClock()
    let meters = Meters(clock: clock.clock)
    for name in ["a", "b"] {
      let meter = meters.meter(for: try StreamName(name))
      meter.received(messages: 3)
      meter.batchBegan(messages: 2, trigger: .size, attempt: 1, waited: .milliseconds(4))
      clock.advance(by: .milliseconds(2))
      meter.batchEnded(
        messages: 2, took: .milliseconds(2), outcome: name == "a" ? .stored : .failed(reason: "no"))
    }
    var program = Overview.Program(
      version: "1", source: "stdin", target: "file:a\\\"b",
      settings: .init(batchSize: 2, linger: .zero, concurrency: 1, capacity: 10))
    program.journal = Overview.Journal(messages: 2, bytes: 100, maximumBytes: 1_000, oldestSeconds: 0.5)
    program.deadLetters = 3
    program.connections = 64
    program.log = Overview.Log(LogLag())
    var written = PrometheusText()
    Overview(of: meters, program: program).write(to: &written)
    metrics.write(to: &written)
    let text = try PrometheusParser(written.text)
    #expect(text.value("aggregator_messages_received_total", ["stream": "a"]) == 3)
    #expect(text.value("aggregator_messages_stored_total", ["stream": "a"]) == 2)
    #expect(text.value("aggregator_messages_stored_total", ["stream": "b"]) == 0)
    #expect(text.value("aggregator_messages_held", ["stream": "b"]) == 3)
    #expect(text.value("aggregator_backing_off", ["stream": "b"]) == 1)
    #expect(text.value("aggregator_batches_total", ["stream": "b", "trigger": "size"]) == 1)
    #expect(text.value("aggregator_store_seconds_sum", ["stream": "b"]) == 0.002)
    #expect(text.value("aggregator_limit", ["kind": "backingOff"]) == 1)
    #expect(text.value("aggregator_info", ["version": "1", "source": "stdin", "target": "file:a\\\"b"]) == 1)
    #expect(text.value("aggregator_journal_oldest_seconds") == 0.5)
    #expect(text.value("aggregator_dead_letters") == 3)
    #expect(text.value("aggregator_connections") == 64)
    #expect(text.value("aggregator_log_assigned_partitions") == 0)
  }
}
