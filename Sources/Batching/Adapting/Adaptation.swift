/// Finds the batch size and the concurrency at which most gets through, from what handler calls take; pure.
///
/// ``AdaptationPolicy`` says by which rules. One thing is changed at a time and then measured over a window of calls, in turns: the
/// batch size, for which the mean time of a call decides, and the number of slots, for which throughput before and after does.
/// Calls that had begun before a change are not counted.
struct Adaptation {
  /// What is asked for.
  struct Size: Equatable {
    var batchSize: Int
    var concurrency: Int
  }

  /// Of a window of calls.
  private struct Window {
    var calls = 0
    var fullCalls = 0
    var messages = 0
    var time = Duration.zero
  }

  private struct Measure {
    /// What the slots get through together while all are busy; of the time between calls nothing is known, nor wanted: calls
    /// that end side by side make a clock look uneven.
    var throughput: Double
    var meanTime: Duration
    var isSaturated: Bool
  }

  private struct Probe {
    var concurrency: Int
    var throughput: Double
  }

  private enum Turn { case batchSize, concurrency }

  private let bounds: AdaptationPolicy.Bounds
  private(set) var size: Size
  private var turn = Turn.batchSize
  private var window = Window()
  /// Calls that may have begun before the last change.
  private var skipped = 0
  /// How many slots there were before the change that is being tried, and what got through.
  private var probe: Probe?
  /// Whether the next number that is tried is larger.
  private var goesUp = true
  /// Turns until another is tried: what is tried in vain costs throughput, too.
  private var pause = 0

  /// Calls in a window, and for each slot.
  private static let fewestCalls = 8
  private static let callsPerSlot = 2
  private static let decrease = 0.9
  /// The bounds of the batch size are so many steps apart.
  private static let steps = 50
  /// Turns between two attempts where the first was in vain.
  private static let pauseAfterProbe = 4
  /// What a slot has to bring, of its share, to be worth it.
  private static let worthwhile = 0.5

  init(_ bounds: AdaptationPolicy.Bounds, batchSize: Int, concurrency: Int) {
    self.bounds = bounds
    size = Size(
      batchSize: min(max(batchSize, bounds.batchSize.lowerBound), bounds.batchSize.upperBound),
      concurrency: min(max(concurrency, bounds.concurrency.lowerBound), bounds.concurrency.upperBound))
  }

  /// A handler call has returned; says what is to be changed, if something is.
  mutating func callEnded(messages: Int, time: Duration) -> Size? {
    if skipped > 0 {
      skipped -= 1
      return nil
    }
    window.calls += 1
    window.messages += messages
    window.time += time
    if messages >= size.batchSize { window.fullCalls += 1 }
    guard window.calls >= max(Self.fewestCalls, Self.callsPerSlot * size.concurrency) else { return nil }
    let perSlot = Double(window.messages) / max(window.time / .seconds(1), 1e-9)
    let measure = Measure(
      throughput: perSlot * Double(size.concurrency), meanTime: window.time / window.calls,
      isSaturated: 2 * window.fullCalls >= window.calls)
    window = Window()
    let last = size
    change(measure)
    guard size != last else { return nil }
    skipped = last.concurrency
    return size
  }

  private mutating func change(_ measure: Measure) {
    switch turn {
    case .batchSize:
      turn = .concurrency
      changeBatchSize(measure)
    case .concurrency:
      turn = .batchSize
      changeConcurrency(measure)
    }
  }

  private mutating func changeBatchSize(_ measure: Measure) {
    if let probe, !judge(probe, measure) { return }
    let limits = bounds.batchSize
    if measure.meanTime > bounds.target {
      size.batchSize = max(limits.lowerBound, Int(Double(size.batchSize) * Self.decrease))
    } else if measure.isSaturated {
      let step = max(1, (limits.upperBound - limits.lowerBound) / Self.steps)
      size.batchSize = min(limits.upperBound, size.batchSize + step)
    }
  }

  private mutating func changeConcurrency(_ measure: Measure) {
    guard measure.isSaturated else { return }
    guard pause == 0 else {
      pause -= 1
      return
    }
    let limits = bounds.concurrency
    let next =
      goesUp
      ? size.concurrency + 1 : min(size.concurrency - 1, Int(Double(size.concurrency) * Self.decrease))
    let allowed = min(max(next, limits.lowerBound), limits.upperBound)
    // At a bound the other direction is tried.
    guard allowed != size.concurrency else {
      goesUp.toggle()
      return
    }
    probe = Probe(concurrency: size.concurrency, throughput: measure.throughput)
    size.concurrency = allowed
  }

  /// Whether the other number of slots is better; if not, it is taken back, and the next one is tried later, on the other side.
  private mutating func judge(_ probe: Probe, _ measure: Measure) -> Bool {
    self.probe = nil
    guard measure.isSaturated else { return true }
    let slots = Double(size.concurrency) / Double(probe.concurrency) - 1
    let throughput = measure.throughput / max(probe.throughput, 1e-9) - 1
    // As much more, or as much less, as slots: that is all that can be had, and 1 here.
    let isWorthwhile = throughput / slots >= Self.worthwhile
    if isWorthwhile == goesUp { return true }
    size.concurrency = probe.concurrency
    goesUp.toggle()
    pause = Self.pauseAfterProbe
    return false
  }
}
