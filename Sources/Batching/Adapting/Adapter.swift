/// An ``Adaptation`` that the slots of an aggregator share.
final class Adapter: Sendable {
  private let bounds: AdaptationPolicy.Bounds
  private let adaptation: Guarded<Adaptation>

  init(_ bounds: AdaptationPolicy.Bounds, batchSize: Int, concurrency: Int) {
    self.bounds = bounds
    adaptation = Guarded(Adaptation(bounds, batchSize: batchSize, concurrency: concurrency))
  }

  func callEnded(messages: Int, time: Duration) -> Adaptation.Size? {
    adaptation.withLock { $0.callEnded(messages: messages, time: time) }
  }

  /// Sizes have been set from outside.
  func restart(batchSize: Int, concurrency: Int) {
    adaptation.withLock { $0 = Adaptation(bounds, batchSize: batchSize, concurrency: concurrency) }
  }
}
