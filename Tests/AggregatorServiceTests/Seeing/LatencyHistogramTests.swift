import Testing

@testable import AggregatorService

@Suite("Latency histogram")
struct LatencyHistogramTests {
  @Test func `quantiles are right within six percent, whatever the size of the times`() throws {
    for unit in [Duration.microseconds(1), .milliseconds(1), .seconds(1)] {
      var histogram = LatencyHistogram()
      for number in 1...1_000 { histogram.record(unit * number) }
      for share in [0.01, 0.5, 0.9, 0.99, 1] {
        let exact = (unit * (share * 1_000)).milliseconds
        let found = try #require(histogram.quantile(share))
        #expect(abs(found - exact) <= exact * 0.0625 + 0.001, "\(share) of \(unit): \(found), but \(exact)")
      }
    }
  }

  @Test func `nothing, what is negative and what is endless are taken as they come`() throws {
    var histogram = LatencyHistogram()
    #expect(histogram.quantile(0.5) == nil)
    histogram.record(.seconds(-1))
    #expect(try #require(histogram.quantile(0.5)) <= 0.001)
    histogram.record(.seconds(1_000_000_000))
    #expect(try #require(histogram.quantile(1)) > 86_400_000)
    #expect(histogram.count == 2)
  }

  @Test func `adding two is as recording all in one`() {
    var left = LatencyHistogram()
    var right = LatencyHistogram()
    var all = LatencyHistogram()
    for number in 1...100 {
      left.record(.microseconds(number))
      right.record(.milliseconds(number))
      all.record(.microseconds(number))
      all.record(.milliseconds(number))
    }
    var sum = LatencyHistogram()
    sum.add(left)
    sum.add(right)
    for share in [0.1, 0.5, 0.75, 0.99] { #expect(sum.quantile(share) == all.quantile(share)) }
    #expect(sum.count == 200)
  }

  @Test func `what is older than about a minute is forgotten, the count is not`() throws {
    var latency = RecentLatency()
    latency.record(.seconds(5), now: .seconds(3))
    latency.record(.milliseconds(1), now: .seconds(35))
    #expect(try #require(latency.recent(now: .seconds(62)).quantile(1)) > 4_000)
    #expect(try #require(latency.recent(now: .seconds(70)).quantile(1)) < 2)
    #expect(latency.recent(now: .seconds(500)).count == 0)
    #expect(latency.count == 2)
    #expect(latency.sum == .milliseconds(5_001))
  }
}
