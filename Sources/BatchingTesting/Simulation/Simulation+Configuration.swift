public import Batching

extension Simulation {
  /// A configuration of the seed's choice: small sizes, where the edges are.
  ///
  /// There are limits of weight only where the aggregator gets `weight:`.
  public func anyConfiguration(isWeighted: Bool = false) -> AggregatorConfiguration {
    var configuration = AggregatorConfiguration()
    configuration.batchSize = pick(1, 2, 3, 5, 8)
    configuration.linger = pick(.zero, .milliseconds(1), .milliseconds(10), .milliseconds(10), .seconds(3600))
    configuration.concurrency = pick(1, 1, 2, 4)
    configuration.capacity = pick(nil, configuration.batchSize, configuration.batchSize + random(in: 0...8), 64)
      .map { max($0, configuration.batchSize) }
    configuration.overflow = pick(.suspend, .suspend, .suspend, .reject, .dropOldest)
    configuration.retry = pick(
      .never,
      .exponential(maximumAttempts: 3, initial: .milliseconds(5), maximum: .milliseconds(40)),
      .exponential(
        maximumAttempts: 2, initial: .milliseconds(1), maximum: .milliseconds(4), isolatesPoisonMessages: true))
    configuration.handlerTimeout = pick(nil, nil, .milliseconds(15))
    configuration.drainTimeout = pick(nil, nil, .zero, .milliseconds(30))
    if isWeighted {
      configuration.maximumBatchWeight = pick(nil, 8, 20)
      configuration.maximumHeldWeight = pick(nil, 20, 60)
    }
    return configuration
  }
}
