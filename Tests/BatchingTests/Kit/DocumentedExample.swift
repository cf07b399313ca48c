import Batching
import BatchingTesting
import Testing

/// The example of docs/testing.md: a mistake that is easily made, found by a seed, and mended.
@Suite("The documented example")
struct DocumentedExample {
  struct View: Hashable {
    var id: Int
    var page: String
  }

  /// Counts views by page.
  actor PageViews {
    private(set) var counts: [String: Int] = [:]
    private var seen: Set<Int> = []

    /// Wrong: what is tried again is counted again.
    func add(_ batch: Batch<View>) {
      for view in batch { counts[view.page, default: 0] += 1 }
    }

    /// Right: repeats do no harm.
    func addOnce(_ batch: Batch<View>) {
      for view in batch where seen.insert(view.id).inserted { counts[view.page, default: 0] += 1 }
    }
  }

  private func eachViewCountsAtMostOnce(
    _ handler: @escaping @Sendable (PageViews, Batch<View>) async -> Void
  ) async throws {
    try await simulate(seeds: 0..<1_000) { simulation in
      let pageViews = PageViews()
      let outcome = try await simulation.run(
        sending: (0..<30).map { View(id: $0, page: "/\($0 % 3)") },
        configuration: .init(batchSize: 8, retry: .exponential())
      ) { batch in
        await handler(pageViews, batch)
      }
      let counted = await pageViews.counts.values.reduce(0, +)
      try simulation.require(
        counted <= outcome.accepted.count, "\(outcome.accepted.count) views were accepted, and \(counted) are counted")
    }
  }

  @Test
  func theMistakeIsFound() async throws {
    let failure = try #require(
      await #expect(throws: SimulationFailure.self) {
        try await eachViewCountsAtMostOnce { await $0.add($1) }
      })
    #expect(failure.seed < 20, "it is found early: \(failure)")
    #expect(failure.finding.hasSuffix("are counted"))
    #expect(failure.repeats)
  }

  @Test
  func whatIsMendedPasses() async throws {
    try await eachViewCountsAtMostOnce { await $0.addOnce($1) }
  }
}
