import AggregatorTestSupport
import Testing

@testable import AggregatorStorage

@Suite("Alarm clock")
struct AlarmClockTests {
  private let alarms = Alarms()

  @Test func `a sleep ends when its time has come, and not before, whatever the order`() async throws {
    let start = ContinuousClock.now
    try await withThrowingTaskGroup(of: ContinuousClock.Instant.self) { group in
      for milliseconds in [40, 10, 30, 20, 10, -5] {
        let deadline = start + .milliseconds(milliseconds)
        group.addTask {
          try await alarms.wait(until: deadline)
          return deadline
        }
      }
      while let deadline = try await group.next() { #expect(.now >= deadline) }
    }
    #expect(alarms.count == (0, 0))
  }

  @Test func `an earlier one is woken though a later one was there before`() async throws {
    let later = Task { try await alarms.wait(until: .now + .seconds(3600)) }
    try await eventually("it sleeps") { alarms.count.sleepers == 1 }
    try await alarms.wait(until: .now + .milliseconds(5))
    later.cancel()
    await #expect(throws: CancellationError.self) { try await later.value }
  }

  @Test func `cancelled sleeps are not kept until their time has come`() async throws {
    for _ in 0..<50 {
      let sleeps = (0..<100).map { _ in Task { try await alarms.wait(until: .now + .seconds(3600)) } }
      for sleep in sleeps { sleep.cancel() }
      for sleep in sleeps {
        await #expect(throws: CancellationError.self) { try await sleep.value }
      }
    }
    #expect(alarms.count.sleepers == 0)
    #expect(alarms.count.alarms <= 64)
  }

  @Test func `of a sleep that is cancelled in the moment when it ends nothing is left, and it ends once`() async throws
  {
    for _ in 0..<500 {
      let sleep = Task { try await alarms.wait(until: .now + .microseconds(200)) }
      try await Task.sleep(for: .microseconds(200))
      sleep.cancel()
      _ = await sleep.result
    }
    #expect(alarms.count.sleepers == 0)
    #expect(alarms.cancelledEarly == 0)
  }
}
