/// Whether batch size and concurrency follow what handler calls take.
public struct AdaptationPolicy: Sendable, Hashable, CustomStringConvertible {
  struct Bounds: Sendable, Hashable {
    var target: Duration
    var batchSize: ClosedRange<Int>
    var concurrency: ClosedRange<Int>
  }

  let bounds: Bounds?

  /// They stay as configured.
  public static let off = AdaptationPolicy(bounds: nil)

  /// They are changed while the aggregator runs, within bounds, so that as much gets through as the handler can do in calls of
  /// about this time.
  ///
  /// Batches grow by a constant while calls take less than `handlerTime`, and shrink by a tenth when they take longer: the
  /// additive increase and multiplicative decrease of Clipper (Crankshaw and others, NSDI 2017). Slots are added one by
  /// one as long as each brings at least half of its share in throughput, and one in ten, at least one, is taken away as long
  /// as that loses less than half of its share: the gradient of throughput decides, as that of latency does in the gradient limits
  /// of Netflix's concurrency-limits and in Vector's adaptive request concurrency. Nothing grows while batches are not full, for then it is the
  /// senders who set the pace. Calls that throw are not counted.
  ///
  /// It begins with `batchSize` and `concurrency` as configured. The default `capacity` follows; one that is set stays, and must
  /// hold the largest batch. With a concurrency above 1, batches are not handled in order.
  ///
  /// - Parameters:
  ///   - handlerTime: What a handler call should take at most; more than zero. Well above what an empty batch would cost.
  ///   - batchSize: The bounds of `batchSize`.
  ///   - concurrency: The bounds of `concurrency`; by default it stays 1.
  /// - Returns: The policy.
  public static func towards(
    handlerTime: Duration, batchSize: ClosedRange<Int>, concurrency: ClosedRange<Int> = 1...1
  ) -> AdaptationPolicy {
    AdaptationPolicy(bounds: Bounds(target: handlerTime, batchSize: batchSize, concurrency: concurrency))
  }

  /// The bounds.
  public var description: String {
    guard let bounds else { return "off" }
    return "towards(handlerTime: \(bounds.target), batchSize: \(bounds.batchSize), concurrency: \(bounds.concurrency))"
  }
}
