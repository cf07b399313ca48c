import CoreMetrics
import Synchronization

/// One series of a family: what a metrics handle changes, and what is written of it.
protocol PrometheusSeries: AnyObject, Sendable {
  func write(_ name: String, _ labels: PrometheusText.Labels, to text: inout PrometheusText)
}

final class PrometheusCounter: CounterHandler, PrometheusSeries {
  private let value = Atomic<Int64>(0)

  func increment(by amount: Int64) {
    guard amount > 0 else { return }
    value.wrappingAdd(amount, ordering: .relaxed)
  }

  func reset() { value.store(0, ordering: .relaxed) }

  func write(_ name: String, _ labels: PrometheusText.Labels, to text: inout PrometheusText) {
    text.sample(name, labels, Int(value.load(ordering: .relaxed)))
  }
}

final class PrometheusFloatingPointCounter: FloatingPointCounterHandler, PrometheusSeries {
  private let value = Mutex(0.0)

  func increment(by amount: Double) {
    guard amount > 0 else { return }
    value.withLock { $0 += amount }
  }

  func reset() { value.withLock { $0 = 0 } }

  func write(_ name: String, _ labels: PrometheusText.Labels, to text: inout PrometheusText) {
    text.sample(name, labels, value.withLock { $0 })
  }
}

/// A meter, and a recorder that does not aggregate: the value that came last.
final class PrometheusGauge: MeterHandler, RecorderHandler, PrometheusSeries {
  private let value = Mutex(0.0)

  func set(_ new: Int64) { set(Double(new)) }
  func set(_ new: Double) { value.withLock { $0 = new } }
  func increment(by amount: Double) { value.withLock { $0 += amount } }
  func decrement(by amount: Double) { value.withLock { $0 -= amount } }
  func record(_ new: Int64) { set(Double(new)) }
  func record(_ new: Double) { set(new) }

  func write(_ name: String, _ labels: PrometheusText.Labels, to text: inout PrometheusText) {
    text.sample(name, labels, value.withLock { $0 })
  }
}

/// A timer, in seconds, and a recorder that aggregates: counts by fixed upper bounds.
final class PrometheusHistogram: TimerHandler, RecorderHandler, PrometheusSeries {
  private struct State {
    /// One for each bound, and one for what is above all; not cumulative.
    var counts: [Int]
    var sum = 0.0
  }

  private let bounds: [Double]
  private let state: Mutex<State>

  init(bounds: [Double]) {
    self.bounds = bounds
    state = Mutex(State(counts: [Int](repeating: 0, count: bounds.count + 1)))
  }

  func recordNanoseconds(_ duration: Int64) { record(Double(duration) / 1e9) }
  func record(_ value: Int64) { record(Double(value)) }

  func record(_ value: Double) {
    // A sum that is not a number would stay so for ever.
    guard value.isFinite else { return }
    let index = bounds.firstIndex { value <= $0 } ?? bounds.count
    state.withLock { state in
      state.counts[index] += 1
      state.sum += value
    }
  }

  func write(_ name: String, _ labels: PrometheusText.Labels, to text: inout PrometheusText) {
    let (counts, sum) = state.withLock { ($0.counts, $0.sum) }
    var total = 0
    for (index, count) in counts.enumerated() {
      total += count
      let bound = index < bounds.count ? PrometheusText.number(bounds[index]) : "+Inf"
      text.sample("\(name)_bucket", labels + [("le", bound)], total)
    }
    text.sample("\(name)_sum", labels, sum)
    text.sample("\(name)_count", labels, total)
  }
}
