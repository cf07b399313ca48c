import BatchingTesting
import Testing

/// The tools themselves: a test that waits for nothing proves nothing.
@Suite(.timeLimit(.minutes(5)))
struct ClockAndGateTests {
  @Test
  func theClockWakesWhoIsDueAndNobodyElse() async throws {
    let clock = ManualClock()
    let early = Begun { try await clock.sleep(until: .init(offset: .seconds(1))) }
    let late = Begun { try await clock.sleep(until: .init(offset: .seconds(2))) }
    try await clock.waitForSleepers(count: 2)
    clock.advance(by: .seconds(1))
    try await early.value
    #expect(!late.hasEnded)
    #expect(clock.deadlines == [.seconds(2)])
    #expect(clock.sleepCalls == 2)
    late.cancel()
    #expect(await late.error is CancellationError)
    #expect(clock.deadlines == [])
  }

  @Test
  func aSleepUntilThePastReturnsAtOnce() async throws {
    let clock = ManualClock()
    clock.advance(by: .seconds(1))
    try await clock.sleep(until: .init(offset: .seconds(1)))
    #expect(clock.nowReads == 0)
  }

  @Test
  func theNextDeadlineWakesAllWhoSleepUntilThen() async throws {
    let clock = ManualClock()
    #expect(!clock.advanceToNextDeadline())
    let both = [1, 2].map { _ in Begun { try await clock.sleep(until: .init(offset: .seconds(5))) } }
    let late = Begun { try await clock.sleep(until: .init(offset: .seconds(6))) }
    #expect(clock.advanceToNextDeadline())
    for sleep in both { try await sleep.value }
    #expect(clock.elapsed == .seconds(5))
    #expect(!late.hasEnded)
    #expect(clock.advanceToNextDeadline())
    try await late.value
  }

  @Test
  func theGateKeepsEachCallUntilItIsLetGo() async throws {
    let gate = GatedHandler<Int>.gated()
    let first = Begun { try await gate(1) }
    let second = Begun { try await gate(2) }
    try await gate.waitForCalls(count: 2)
    try await gate.call(1).fail(Failure(id: 2))
    #expect(await second.error as? Failure == Failure(id: 2))
    #expect(!first.hasEnded)
    try await gate.call(0).succeed()
    try await first.value
    #expect(gate.inputs == [1, 2])
    #expect(gate.mostAtOnce == 2)
    #expect(gate.running == 0)
  }

  @Test
  func aCancelledWaitThrows() async {
    let never = Watched(false)
    let wait = Begun { try await never.wait { $0 } }
    wait.cancel()
    #expect(await wait.error is CancellationError)
  }
}
