import Batching
import BatchingTesting
import Testing

/// The recorder: that it sees each thing that can be wrong with a fate, and says which message it is.
@Suite("Fate recorder", .timeLimit(.minutes(5)))
struct FateRecorderTests {
  private let recorder = FateRecorder<Int>()

  private func handle(_ messages: [Int], _ error: (any Error)? = nil) async throws {
    let handler = recorder.recording { (_: Batch<Int>) in if let error { throw error } }
    try await handler(Batch(messages: messages))
  }

  private func giveUp(_ messages: [Int], _ error: any Error = Failure()) async {
    let onFailure = recorder.recording { (_: BatchFailure<Int>) in }
    await onFailure(BatchFailure(items: messages.map { .init(message: $0, error: error) }, error: error))
  }

  private func findings(accepted: [Int], statistics: AggregatorStatistics? = nil) -> [String] {
    do throws(FateViolation) {
      try recorder.check(accepted: accepted, statistics: statistics)
      return []
    } catch {
      return error.findings
    }
  }

  @Test
  func whatIsRightPasses() async throws {
    try await handle([1, 2])
    await #expect(throws: PartialBatchFailure.self) { try await handle([3, 4], PartialBatchFailure([1: Failure()])) }
    await giveUp([4])
    await giveUp([5], AggregatorError.dropped)
    let statistics = AggregatorStatistics.having {
      $0.accepted = 5
      $0.handled = 3
      $0.failed = 1
      $0.dropped = 1
    }
    try recorder.check(accepted: 1...5, statistics: statistics)
    #expect(recorder.each == [1: .handled, 2: .handled, 3: .handled, 4: .failed(Failure()), 5: .dropped])
  }

  @Test
  func aFailedAttemptIsNoFate() async throws {
    await #expect(throws: Failure.self) { try await handle([1], Failure()) }
    await #expect(throws: PartialBatchFailure.self) { try await handle([1], PartialBatchFailure([7: Failure()])) }
    #expect(findings(accepted: [1]) == ["accepted, but without a fate: 1"])
  }

  @Test
  func aSecondFateIsFound() async throws {
    try await handle([1, 2])
    await giveUp([2], Failure(id: 3))
    #expect(findings(accepted: [1, 2]) == ["more than one fate: 2 (handled, failed (Failure(id: 3)))"])
  }

  @Test
  func aMessageThatWasNotAcceptedIsFound() async throws {
    try await handle([1, 2])
    #expect(findings(accepted: [1]) == ["never accepted, but with a fate: 2 (handled)"])
  }

  @Test
  func wrongNumbersAreFound() async throws {
    try await handle([1])
    let statistics = AggregatorStatistics.having {
      $0.accepted = 1
      $0.held = 1
    }
    #expect(
      findings(accepted: [1], statistics: statistics) == [
        "statistics say that 0 are handled, but there are 1", "statistics say that 1 are held, but there are 0",
      ])
  }

  @Test
  func aCancelledFailureHandlerIsFound() async throws {
    let task = Task {
      withUnsafeCurrentTask { $0?.cancel() }
      await giveUp([1])
    }
    await task.value
    #expect(findings(accepted: [1]) == ["onFailure found itself in a cancelled task, 1 times"])
  }

  @Test
  func manyAreShortened() {
    #expect(findings(accepted: Array(1...9)) == ["accepted, but without a fate: 1, 2, 3, 4, 5, and 4 more"])
  }
}
