/// How an aggregator collects messages, how many it holds, and what it does when its handler fails.
///
/// Every property has a default that suits a handler that writes to a database on the same network. The values are
/// checked when an aggregator is made: one that makes no sense throws ``AggregatorError`` and says what is allowed.
public struct AggregatorConfiguration: Sendable, Hashable {
  /// The most messages in a batch.
  ///
  /// Default 500; at least 1.
  public var batchSize: Int

  /// The longest that the first message of a batch waits for others before the batch is due.
  ///
  /// Default 10 ms; not negative.
  ///
  /// With `.zero` a batch is due at once and grows only while every slot is busy: natural batching.
  public var linger: Duration

  /// The most handler calls at once.
  ///
  /// Default 1; from 1 to 65,536.
  ///
  /// With 1, batches are handled in the order in which their messages were accepted, retries included.
  public var concurrency: Int

  /// The most messages held: accepted and not yet settled.
  ///
  /// Default `nil`; at least `batchSize`.
  ///
  /// `nil` stands for `8 × batchSize × concurrency`: each slot's batch, one that fills, and some slack for bursts.
  public var capacity: Int?

  /// What happens to a message for which there is no room.
  ///
  /// Default ``OverflowPolicy/suspend``.
  public var overflow: OverflowPolicy

  /// When and how often a failed batch is tried again.
  ///
  /// Default ``RetryPolicy/never``.
  public var retry: RetryPolicy

  /// The longest that one handler call may take before it is cancelled.
  ///
  /// Default `nil`, no limit; more than zero. On a `ContinuousClock` each call leaves some 0.7 KiB with the runtime until its limit
  /// would have been reached, because the runtime keeps a sleep that was cancelled: with many short calls take a short limit, or a
  /// clock of your own.
  public var handlerTimeout: Duration?

  /// The longest that the drain after a shutdown may take before its handlers are cancelled.
  ///
  /// Default `nil`, as long as it takes; not negative. It counts from the shutdown, or from the start of `run()` if that
  /// comes later.
  public var drainTimeout: Duration?

  /// The most that the messages of one batch may weigh together.
  ///
  /// Default `nil`, no limit; at least 1.
  ///
  /// In the unit of the aggregator's `weight:` (bytes, rows, cost), which it needs. A single message that is heavier is
  /// refused.
  public var maximumBatchWeight: Int?

  /// The most that all held messages may weigh together.
  ///
  /// Default `nil`, no limit; at least `maximumBatchWeight`.
  ///
  /// In the unit of the aggregator's `weight:`, which it needs. A single message that is heavier is refused.
  public var maximumHeldWeight: Int?

  /// Whether handler calls are traced.
  ///
  /// Default ``TracingPolicy/off``.
  public var tracing: TracingPolicy

  /// Whether `batchSize` and `concurrency` follow what handler calls take.
  ///
  /// Default ``AdaptationPolicy/off``.
  public var adaptation: AdaptationPolicy

  /// Makes a configuration; each parameter that is left out has its default.
  public init(
    batchSize: Int = 500,
    linger: Duration = .milliseconds(10),
    concurrency: Int = 1,
    capacity: Int? = nil,
    overflow: OverflowPolicy = .suspend,
    retry: RetryPolicy = .never,
    handlerTimeout: Duration? = nil,
    drainTimeout: Duration? = nil,
    maximumBatchWeight: Int? = nil,
    maximumHeldWeight: Int? = nil,
    tracing: TracingPolicy = .off,
    adaptation: AdaptationPolicy = .off
  ) {
    self.batchSize = batchSize
    self.linger = linger
    self.concurrency = concurrency
    self.capacity = capacity
    self.overflow = overflow
    self.retry = retry
    self.handlerTimeout = handlerTimeout
    self.drainTimeout = drainTimeout
    self.maximumBatchWeight = maximumBatchWeight
    self.maximumHeldWeight = maximumHeldWeight
    self.tracing = tracing
    self.adaptation = adaptation
  }
}

extension AggregatorConfiguration {
  /// How many times `batchSize × concurrency` an aggregator holds when `capacity` is `nil`.
  static let capacityFactor = 8

  /// The most handler calls at once that can be asked for: each is a task.
  static let maximumConcurrency = 65_536

  /// The bound on held messages that is in force.
  package var effectiveCapacity: Int {
    if let capacity { return capacity }
    let (slots, overflowed) = batchSize.multipliedReportingOverflow(by: concurrency)
    let (total, overflowedToo) = slots.multipliedReportingOverflow(by: Self.capacityFactor)
    return overflowed || overflowedToo ? .max : total
  }

  /// Throws the first value that cannot be changed while an aggregator runs, and is not what it was.
  func validateSame(as original: AggregatorConfiguration) throws(AggregatorError) {
    func check<Value: Equatable>(_ name: String, _ value: KeyPath<Self, Value>) throws(AggregatorError) {
      if self[keyPath: value] != original[keyPath: value] {
        throw .invalidConfiguration(
          name, was: "\(self[keyPath: value])",
          allowed:
            "\(original[keyPath: value]), as when the aggregator was made: only batchSize, linger, concurrency and "
            + "capacity can be changed")
      }
    }
    try check("overflow", \.overflow)
    try check("retry", \.retry)
    try check("handlerTimeout", \.handlerTimeout)
    try check("drainTimeout", \.drainTimeout)
    try check("maximumBatchWeight", \.maximumBatchWeight)
    try check("maximumHeldWeight", \.maximumHeldWeight)
    try check("tracing", \.tracing)
    try check("adaptation", \.adaptation)
  }

  /// Throws the first value that makes no sense, with what it was and what is allowed.
  func validate(hasWeight: Bool) throws(AggregatorError) {
    func check(_ holds: Bool, _ name: String, _ value: Any, _ allowed: String) throws(AggregatorError) {
      if !holds { throw .invalidConfiguration(name, was: "\(value)", allowed: allowed) }
    }
    try check(batchSize >= 1, "batchSize", batchSize, "1 or more")
    try check(linger >= .zero, "linger", linger, "zero or more")
    try check(
      (1...Self.maximumConcurrency).contains(concurrency), "concurrency", concurrency, "1 to \(Self.maximumConcurrency)"
    )
    if let capacity {
      try check(capacity >= batchSize, "capacity", capacity, "batchSize (\(batchSize)) or more")
    }
    if let handlerTimeout {
      try check(handlerTimeout > .zero, "handlerTimeout", handlerTimeout, "more than zero, or nil for none")
    }
    if let drainTimeout {
      try check(drainTimeout >= .zero, "drainTimeout", drainTimeout, "zero or more, or nil for as long as it takes")
    }
    for (name, limit) in [("maximumBatchWeight", maximumBatchWeight), ("maximumHeldWeight", maximumHeldWeight)] {
      guard let limit else { continue }
      try check(limit >= 1, name, limit, "1 or more, or nil for none")
      try check(
        hasWeight, name, limit, "nil unless the aggregator is given `weight:`, which tells what a message weighs")
    }
    if let maximumBatchWeight, let maximumHeldWeight {
      try check(
        maximumHeldWeight >= maximumBatchWeight, "maximumHeldWeight", maximumHeldWeight,
        "maximumBatchWeight (\(maximumBatchWeight)) or more")
    }
    if let bounds = adaptation.bounds {
      try check(bounds.target > .zero, "adaptation.handlerTime", bounds.target, "more than zero")
      let sizes = bounds.batchSize
      try check(sizes.lowerBound >= 1, "adaptation.batchSize", sizes, "from 1 on")
      try check(sizes.contains(batchSize), "batchSize", batchSize, "in the bounds of adaptation, \(sizes)")
      if let capacity {
        try check(
          capacity >= sizes.upperBound, "capacity", capacity,
          "the largest batchSize of adaptation (\(sizes.upperBound)) or more")
      }
      let slots = bounds.concurrency
      try check(
        slots.lowerBound >= 1 && slots.upperBound <= Self.maximumConcurrency, "adaptation.concurrency", slots,
        "in 1 to \(Self.maximumConcurrency)")
      try check(slots.contains(concurrency), "concurrency", concurrency, "in the bounds of adaptation, \(slots)")
    }
    if let links = tracing.maximumLinks {
      try check(links >= 1, "tracing.linkingSenders", links, "1 or more; use .handlerCalls for no links")
    }
    try retry.validate()
  }
}
