import Batching
import Testing

@Suite("Guarantee 15: bad configuration", .timeLimit(.minutes(5)))
struct Guarantee15BadConfiguration {
  /// A configuration that makes no sense, and what the error must name: the value, what it was, and what is allowed.
  struct Bad: Sendable, CustomTestStringConvertible {
    var name: String
    var was: String
    var allowed: String
    var hasWeight = true
    var configuration: AggregatorConfiguration

    var testDescription: String { "\(name) = \(was)" }
  }

  static let bad: [Bad] = [
    Bad(name: "batchSize", was: "0", allowed: "1", configuration: .init(batchSize: 0)),
    Bad(name: "batchSize", was: "-1", allowed: "1", configuration: .init(batchSize: -1)),
    Bad(name: "linger", was: "-1e-09", allowed: "zero", configuration: .init(linger: .nanoseconds(-1))),
    Bad(name: "concurrency", was: "0", allowed: "1", configuration: .init(concurrency: 0)),
    Bad(name: "concurrency", was: "-3", allowed: "65536", configuration: .init(concurrency: -3)),
    Bad(name: "concurrency", was: "65537", allowed: "65536", configuration: .init(concurrency: 65_537)),
    Bad(name: "capacity", was: "499", allowed: "500", configuration: .init(capacity: 499)),
    Bad(name: "capacity", was: "0", allowed: "1", configuration: .init(batchSize: 1, capacity: 0)),
    Bad(name: "handlerTimeout", was: "0", allowed: "zero", configuration: .init(handlerTimeout: .zero)),
    Bad(name: "handlerTimeout", was: "-1", allowed: "zero", configuration: .init(handlerTimeout: .seconds(-1))),
    Bad(name: "drainTimeout", was: "-1", allowed: "zero", configuration: .init(drainTimeout: .seconds(-1))),
    Bad(name: "maximumBatchWeight", was: "0", allowed: "1", configuration: .init(maximumBatchWeight: 0)),
    Bad(name: "maximumHeldWeight", was: "-2", allowed: "1", configuration: .init(maximumHeldWeight: -2)),
    Bad(
      name: "maximumBatchWeight", was: "10", allowed: "weight:", hasWeight: false,
      configuration: .init(maximumBatchWeight: 10)),
    Bad(
      name: "maximumHeldWeight", was: "10", allowed: "weight:", hasWeight: false,
      configuration: .init(maximumHeldWeight: 10)),
    Bad(
      name: "maximumHeldWeight", was: "9", allowed: "10",
      configuration: .init(maximumBatchWeight: 10, maximumHeldWeight: 9)),
    Bad(
      name: "retry.maximumAttempts", was: "0", allowed: "1",
      configuration: .init(retry: .exponential(maximumAttempts: 0))),
    Bad(
      name: "retry.initial", was: "-1", allowed: "zero",
      configuration: .init(retry: .exponential(initial: .seconds(-1)))),
    Bad(
      name: "retry.maximum", was: "1", allowed: "2",
      configuration: .init(retry: .exponential(initial: .seconds(2), maximum: .seconds(1)))),
    Bad(
      name: "retry.multiplier", was: "0.5", allowed: "1",
      configuration: .init(retry: .exponential(multiplier: 0.5))),
    Bad(
      name: "retry.multiplier", was: "nan", allowed: "1",
      configuration: .init(retry: .exponential(multiplier: .nan))),
    Bad(
      name: "retry.multiplier", was: "inf", allowed: "finite",
      configuration: .init(retry: .exponential(multiplier: .infinity))),
  ]

  @Test(arguments: bad)
  func isRefusedWithItsNameItsValueAndWhatIsAllowed(_ bad: Bad) throws {
    let itself: @Sendable (Int) -> Int = { $0 }
    let weight = bad.hasWeight ? itself : nil
    let error = #expect(throws: AggregatorError.self) {
      try Aggregator<Int>(configuration: bad.configuration, weight: weight) { _ in }
    }
    #expect(error == .invalidConfiguration("", was: "", allowed: ""))
    let message = try #require(error?.message)
    #expect(message.contains(bad.name))
    #expect(message.contains(bad.was))
    #expect(message.contains(bad.allowed))
  }

  /// Configurations at the edge of what is allowed.
  static let good: [AggregatorConfiguration] = [
    .init(),
    .init(batchSize: 1, linger: .zero, concurrency: 1, capacity: 1),
    .init(batchSize: 1, concurrency: 65_536),
    .init(batchSize: 3, capacity: 3),
    .init(handlerTimeout: .nanoseconds(1), drainTimeout: .zero),
    .init(batchSize: 1, maximumBatchWeight: 1, maximumHeldWeight: 1),
    .init(retry: .exponential(maximumAttempts: 1, initial: .zero, maximum: .zero, multiplier: 1)),
    .init(maximumBatchWeight: .max, maximumHeldWeight: .max),
  ]

  @Test(arguments: good)
  func whatIsJustAllowedIsAccepted(_ configuration: AggregatorConfiguration) throws {
    let aggregator = try Aggregator<Int>(configuration: configuration, weight: { $0 }) { _ in }
    #expect(aggregator.trySend(1) == .accepted)
    aggregator.shutdown()
  }

  /// In a process of its own: should it trap, or ask for all the memory there is, the other tests go on.
  @Test
  func valuesWithoutMeasureDoNotTrap() async {
    await #expect(processExitsWith: .success) {
      let aggregator = try Aggregator<Int>(
        configuration: .init(
          batchSize: .max, linger: .seconds(Int64.max), concurrency: 65_536,
          retry: .exponential(
            maximumAttempts: .max, maximum: .seconds(Int64.max), multiplier: .greatestFiniteMagnitude),
          handlerTimeout: .seconds(Int64.max), drainTimeout: .seconds(Int64.max))
      ) { batch in
        if batch.attempt == 1 { throw Advice(isRetryable: true, retryAfter: .zero) }
      }
      try await whileRunning(aggregator) { _ in
        try await aggregator.send(contentsOf: 0..<1000)
        try await aggregator.flush()
      }
      #expect(aggregator.statistics.handled == 1000)
    }
  }
}
