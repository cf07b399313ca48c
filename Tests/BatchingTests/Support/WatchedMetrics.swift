import BatchingTesting
import CoreMetrics
import MetricsTestKit

/// A metrics backend that keeps all values, counts the handles that are made, and lets a test look on at each use.
final class WatchedMetrics: MetricsFactory {
  let values = TestMetrics()
  let made = Watched<[String]>([])
  /// Called whenever a counter or a meter is used.
  let onUse = Watched<@Sendable () -> Void>({})

  func makeCounter(label: String, dimensions: [(String, String)]) -> any CounterHandler {
    made.change { $0.append(label) }
    return Handle(counter: values.makeCounter(label: label, dimensions: dimensions), factory: self)
  }

  func makeMeter(label: String, dimensions: [(String, String)]) -> any MeterHandler {
    made.change { $0.append(label) }
    return Handle(meter: values.makeMeter(label: label, dimensions: dimensions), factory: self)
  }

  func makeRecorder(label: String, dimensions: [(String, String)], aggregate: Bool) -> any RecorderHandler {
    made.change { $0.append(label) }
    return values.makeRecorder(label: label, dimensions: dimensions, aggregate: aggregate)
  }

  func makeTimer(label: String, dimensions: [(String, String)]) -> any TimerHandler {
    made.change { $0.append(label) }
    return values.makeTimer(label: label, dimensions: dimensions)
  }

  func destroyCounter(_ handler: any CounterHandler) {}
  func destroyMeter(_ handler: any MeterHandler) {}
  func destroyRecorder(_ handler: any RecorderHandler) {}
  func destroyTimer(_ handler: any TimerHandler) {}

  private final class Handle: CounterHandler, MeterHandler {
    private let counter: (any CounterHandler)?
    private let meter: (any MeterHandler)?
    private let factory: WatchedMetrics

    init(counter: (any CounterHandler)? = nil, meter: (any MeterHandler)? = nil, factory: WatchedMetrics) {
      self.counter = counter
      self.meter = meter
      self.factory = factory
    }

    func increment(by amount: Int64) {
      counter?.increment(by: amount)
      factory.onUse.current()
    }

    func set(_ value: Int64) {
      meter?.set(value)
      factory.onUse.current()
    }

    func set(_ value: Double) {
      meter?.set(value)
      factory.onUse.current()
    }

    func increment(by amount: Double) { meter?.increment(by: amount) }
    func decrement(by amount: Double) { meter?.decrement(by: amount) }
    func reset() { counter?.reset() }
  }

  // MARK: - What a test sees

  /// The sum of a counter, over all its dimensions.
  func count(_ label: String) -> Int { Int(values.counterTotal(label: "batching.\(label)")) }

  /// The batches that were taken for this reason.
  func batches(_ trigger: String) -> Int {
    Int(values.counterTotal(label: "batching.batch.taken", dimensions: [("batching.trigger", trigger)]))
  }

  /// The latest value of a gauge.
  func gauge(_ label: String) -> Int? {
    values.meters(label: "batching.\(label)").first?.lastValue.map { Int($0) }
  }

  /// All values of a histogram, in the order in which they came.
  func recorded(_ label: String) -> [Double] {
    values.recorders(label: "batching.\(label)").flatMap(\.values)
  }

  /// All values of a timer.
  func times(_ label: String, outcome: String? = nil) -> [Duration] {
    values.timers(label: "batching.\(label)").filter { timer in
      outcome.map { outcome in timer.dimensions.contains { $0 == ("batching.outcome", outcome) } } ?? true
    }.flatMap { $0.values.map { .nanoseconds($0) } }
  }
}
