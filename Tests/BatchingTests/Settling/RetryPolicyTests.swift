import Testing

@testable import Batching

@Suite("Retry policy")
struct RetryPolicyTests {
  private let policy = RetryPolicy.exponential(
    maximumAttempts: 100, initial: .milliseconds(100), maximum: .seconds(5), multiplier: 3)

  @Test func `the bound of the back-off grows by the multiplier up to the maximum`() {
    // The largest random number comes as near to the bound as a fraction of 53 bits can.
    func bound(_ attempt: Int) -> Double {
      policy.backOff(after: attempt, advised: nil, random: .max) / .milliseconds(1)
    }
    for (attempt, expected) in [(1, 100.0), (2, 300), (3, 900), (4, 2_700), (5, 5_000), (6, 5_000), (99, 5_000)] {
      #expect(abs(bound(attempt) - expected) < 1e-6, "attempt \(attempt)")
    }
  }

  @Test func `the jitter is uniform from zero to the bound`() {
    #expect(policy.backOff(after: 1, advised: nil, random: 0) == .zero)
    #expect(policy.backOff(after: 1, advised: nil, random: 1 << 62) == .milliseconds(25))
    #expect(policy.backOff(after: 1, advised: nil, random: 1 << 63) == .milliseconds(50))
  }

  @Test func `it is never above the maximum, whatever the numbers`() {
    let wild = RetryPolicy.exponential(
      maximumAttempts: .max, initial: .seconds(1), maximum: .seconds(Int64.max), multiplier: 1e300)
    for attempt in [1, 2, 3, 1_000, .max] {
      let backOff = wild.backOff(after: attempt, advised: nil, random: .max)
      #expect(backOff >= .zero)
      #expect(backOff <= .seconds(Int64.max))
    }
    let none = RetryPolicy.exponential(initial: .zero, maximum: .zero)
    #expect(none.backOff(after: 3, advised: nil, random: .max) == .zero)
  }

  @Test func `advice is obeyed from zero to the maximum`() {
    #expect(policy.backOff(after: 1, advised: .seconds(2), random: .max) == .seconds(2))
    #expect(policy.backOff(after: 1, advised: .seconds(20), random: 0) == .seconds(5))
    #expect(policy.backOff(after: 1, advised: .seconds(-1), random: .max) == .zero)
  }
}
