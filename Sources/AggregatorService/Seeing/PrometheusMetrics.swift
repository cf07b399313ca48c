package import CoreMetrics
import Synchronization

/// A metrics backend that keeps what is measured for Prometheus to fetch.
///
/// `a.b.c` of swift-metrics becomes `a_b_c`, with `_total` for a counter and `_seconds` for a timer. A handle that is asked for
/// again is the same one. Their number is bounded: one too many, or one whose name is taken by another kind, works and is not
/// shown, and `aggregator_metrics_hidden` counts it.
package final class PrometheusMetrics: MetricsFactory {
  private struct Family {
    var kind: PrometheusText.Kind
    var help: String
    var series: [(labels: PrometheusText.Labels, handle: any PrometheusSeries)] = []
    /// The same by their labels, whatever their order.
    var known: [String: any PrometheusSeries] = [:]
  }

  private struct State {
    var families: [String: Family] = [:]
    var count = 0
    var hidden = 0
  }

  private let state = Mutex(State())

  /// The most series.
  static let mostSeries = 2_000

  static let secondsBounds = [
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60,
  ]
  static let countBounds: [Double] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 50_000, 100_000]
  static let shareBounds = [0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 1]

  /// Makes a backend that has no series yet.
  package init() {}

  // MARK: Making handles

  package func makeCounter(label: String, dimensions: [(String, String)]) -> any CounterHandler {
    series(label, "_total", dimensions, .counter) { PrometheusCounter() }
  }

  package func makeFloatingPointCounter(
    label: String, dimensions: [(String, String)]
  ) -> any FloatingPointCounterHandler {
    series(label, "_total", dimensions, .counter) { PrometheusFloatingPointCounter() }
  }

  package func makeMeter(label: String, dimensions: [(String, String)]) -> any MeterHandler {
    series(label, "", dimensions, .gauge) { PrometheusGauge() }
  }

  package func makeRecorder(label: String, dimensions: [(String, String)], aggregate: Bool) -> any RecorderHandler {
    guard aggregate else { return series(label, "", dimensions, .gauge) { PrometheusGauge() } }
    let bounds = label.hasSuffix(".fill") ? Self.shareBounds : Self.countBounds
    return series(label, "", dimensions, .histogram) { PrometheusHistogram(bounds: bounds) }
  }

  package func makeTimer(label: String, dimensions: [(String, String)]) -> any TimerHandler {
    series(label, "_seconds", dimensions, .histogram) { PrometheusHistogram(bounds: Self.secondsBounds) }
  }

  private func series<Handle: PrometheusSeries>(
    _ label: String, _ suffix: String, _ dimensions: [(String, String)], _ kind: PrometheusText.Kind,
    make: () -> Handle
  ) -> Handle {
    var name = PrometheusText.metricName(label)
    if !name.hasSuffix(suffix) { name += suffix }
    let labels = Self.labels(dimensions, of: kind)
    let key = Self.key(labels)
    return state.withLock { state in
      let known = state.families[name]?.known[key]
      if let known = known as? Handle { return known }
      let handle = make()
      guard known == nil, state.count < Self.mostSeries, state.families[name]?.kind ?? kind == kind,
        !Self.isTaken(name, kind, in: state)
      else {
        state.hidden += 1
        return handle
      }
      let empty = Family(kind: kind, help: Self.help[label] ?? "\(label), as measured.")
      state.families[name, default: empty].series.append((labels, handle))
      state.families[name]?.known[key] = handle
      state.count += 1
      return handle
    }
  }

  /// Names that mean the same after sanitising share one label, their values joined.
  private static func labels(_ dimensions: [(String, String)], of kind: PrometheusText.Kind) -> PrometheusText.Labels {
    var labels: PrometheusText.Labels = []
    for (key, value) in dimensions {
      var name = PrometheusText.labelName(key)
      if kind == .histogram, name == "le" { name = "le_" }
      if let index = labels.firstIndex(where: { $0.name == name }) {
        labels[index].value += ";\(value)"
      } else {
        labels.append((name, value))
      }
    }
    return labels
  }

  /// The same for the same labels in any order, and for no others.
  private static func key(_ labels: PrometheusText.Labels) -> String {
    labels.sorted { $0.name < $1.name }.map { "\($0.name)=\($0.value.utf8.count):\($0.value)" }.joined(separator: ",")
  }

  /// Whether the samples of a histogram have the name of another family's, or the other way round.
  private static func isTaken(_ name: String, _ kind: PrometheusText.Kind, in state: State) -> Bool {
    let parts = ["_bucket", "_sum", "_count"]
    if kind == .histogram, parts.contains(where: { state.families[name + $0] != nil }) { return true }
    return parts.contains { part in
      name.hasSuffix(part) && state.families[String(name.dropLast(part.count))]?.kind == .histogram
    }
  }

  // MARK: Letting go of them

  package func destroyCounter(_ handler: any CounterHandler) { remove(handler) }
  package func destroyFloatingPointCounter(_ handler: any FloatingPointCounterHandler) { remove(handler) }
  package func destroyMeter(_ handler: any MeterHandler) { remove(handler) }
  package func destroyRecorder(_ handler: any RecorderHandler) { remove(handler) }
  package func destroyTimer(_ handler: any TimerHandler) { remove(handler) }

  private func remove(_ handler: AnyObject) {
    state.withLock { state in
      for (name, family) in state.families {
        guard let index = family.series.firstIndex(where: { $0.handle === handler }) else { continue }
        let removed = state.families[name]?.series.remove(at: index)
        state.families[name]?.known[Self.key(removed?.labels ?? [])] = nil
        if family.series.count == 1 { state.families[name] = nil }
        state.count -= 1
        return
      }
    }
  }

  // MARK: Writing

  /// All series, by name.
  func write(to text: inout PrometheusText) {
    let (families, hidden) = state.withLock { ($0.families, $0.hidden) }
    for (name, family) in families.sorted(by: { $0.key < $1.key }) {
      text.family(name, family.kind, family.help)
      for (labels, handle) in family.series { handle.write(name, labels, to: &text) }
    }
    text.family(
      "aggregator_metrics_hidden", .gauge, "Series that are not shown: too many, or their name means something else.")
    text.sample("aggregator_metrics_hidden", hidden)
  }

  /// What the library's metrics mean; see `docs/observability.md`.
  private static let help = [
    "batching.message.accepted": "Messages accepted.",
    "batching.message.handled": "Messages whose handler call returned.",
    "batching.message.failed": "Messages given up.",
    "batching.message.dropped": "Messages pushed out by newer ones.",
    "batching.message.cancelled": "Messages taken back by their caller.",
    "batching.message.rejected": "Sends refused: full, closed, or too heavy.",
    "batching.attempt.retries": "Handler calls after the first of a batch.",
    "batching.batch.taken": "Batches taken by a slot, by what made them due.",
    "batching.batch.size": "Messages in a batch when its handler is first called.",
    "batching.batch.fill": "The same divided by the batch size.",
    "batching.batch.wait": "From the acceptance of a batch's first message to its first handler call.",
    "batching.handler.duration": "Handler calls, by outcome.",
    "batching.message.held": "Messages accepted and not yet settled.",
    "batching.message.in_flight": "Messages that a handler call has.",
    "batching.sender.waiting": "Senders that wait for room.",
  ]
}
