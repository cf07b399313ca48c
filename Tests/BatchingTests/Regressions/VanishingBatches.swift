import Batching
import BatchingTesting
import Testing

/// Pain 3: in channelx a batch whose handler fails vanishes, and its error handler runs untracked, after the stop too.
@Suite("Regression: vanishing batches", .timeLimit(.minutes(5)))
struct VanishingBatches {
  @Test(arguments: batchSizes, slotCounts)
  func aBatchWhoseHandlerFailsIsGivenUpNotForgotten(batchSize: Int, concurrency: Int) async throws {
    let rig = try Rig(
      .init(batchSize: batchSize, concurrency: concurrency),
      handler: .open { batch in if batch.contains(where: { $0.isMultiple(of: 5) }) { throw Failure() } })
    try await rig.run { rig in try await rig.aggregator.send(contentsOf: 1...40) }
    #expect(rig.fates.each.count == 40)
    #expect(Set(rig.failures.inputs.flatMap(\.messages)).isDisjoint(with: rig.fates.handled))
  }

  @Test(arguments: slotCounts)
  func runDoesNotReturnWhileOnFailureRuns(concurrency: Int) async throws {
    let rig = try Rig(
      .init(batchSize: 1, concurrency: concurrency), handler: .open { _ in throw Failure() }, failures: .gated())
    try await rig.run { rig, run in
      try await rig.aggregator.send(contentsOf: 1...5)
      rig.aggregator.shutdown()
      try await rig.failures.waitForCalls(count: 1)
      await settle()
      #expect(!run.hasEnded)
      rig.failures.open()
      try await run.value
      #expect(rig.failures.running == 0)
      #expect(rig.failures.inputs.flatMap(\.messages).sorted() == [1, 2, 3, 4, 5])
    }
  }

  @Test
  func theSlotOfAFailedBatchGoesOn() async throws {
    let rig = try Rig(.init(batchSize: 2), handler: .open { batch in if batch[0] == 1 { throw Failure() } })
    try await rig.run { rig in
      try await rig.aggregator.send(contentsOf: 1...6)
      try await rig.aggregator.flush()
    }
    #expect(rig.fates.all == .of(handled: [3, 4, 5, 6], failed: [1, 2]))
  }
}
