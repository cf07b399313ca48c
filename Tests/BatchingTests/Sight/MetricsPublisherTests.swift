import BatchingTesting
import Testing

@testable import Batching

@Suite("Metrics: one publisher at a time", .timeLimit(.minutes(5)))
struct MetricsPublisherTests {
  private let metrics = WatchedMetrics()

  private func publisher() throws -> MetricsPublisher {
    try #require(MetricsPublisher(aggregator: "test", batchSize: 10, factory: metrics))
  }

  @Test
  func whoComesWhileItIsPublishedHasItPublishedAgain() throws {
    let publisher = try publisher()
    var reads = 0
    let outcome = publisher.publish {
      reads += 1
      if reads == 1 { #expect(publisher.publish { Totals() } == .leftToOther) }
      return Totals(accepted: reads * 10, held: reads)
    }
    #expect(outcome == .done)
    #expect(reads == 2)
    #expect(metrics.count("message.accepted") == 20)
    #expect(metrics.gauge("message.held") == 2)
  }

  @Test
  func nobodyPublishesForOthersForEver() throws {
    let publisher = try publisher()
    var reads = 0
    let outcome = publisher.publish {
      reads += 1
      publisher.publish { Totals() }
      return Totals(accepted: reads)
    }
    #expect(outcome == .unfinished)
    #expect(reads == 8)
    #expect(metrics.count("message.accepted") == 8)
    #expect(publisher.publish { Totals(accepted: 9) } == .done, "the next goes on")
    #expect(metrics.count("message.accepted") == 9)
  }

  @Test
  func theLastPublicationWaitsForTheOneThatIsUnderWay() async throws {
    let publisher = try publisher()
    let last = Watched<Begun<Void>?>(nil)
    publisher.publish {
      last.change { [publisher] in
        $0 = Begun { await publisher.publishLast { Totals(accepted: 7, held: 0) } }
      }
      #expect(last.current?.hasEnded == false)
      return Totals(accepted: 3, held: 4)
    }
    try await last.current?.value
    #expect(metrics.count("message.accepted") == 7)
    #expect(metrics.gauge("message.held") == 0)
  }

  @Test
  func whatHasNotChangedIsNotPublished() throws {
    let publisher = try publisher()
    let uses = Watched(0)
    metrics.onUse.change { $0 = { uses.change { $0 += 1 } } }
    publisher.publish { Totals(accepted: 1, held: 1) }
    #expect(uses.current == 4, "one counter, three gauges")
    publisher.publish { Totals(accepted: 1, held: 1) }
    #expect(uses.current == 4)
  }

  @Test
  func sendersPublishAtMostOnceASecond() throws {
    let publisher = try publisher()
    var reads = 0
    for milliseconds in [0, 1, 999, 1_000, 1_500, 2_000] {
      publisher.publishForSender(now: .milliseconds(milliseconds)) {
        reads += 1
        return Totals()
      }
    }
    #expect(reads == 3)
  }
}
