import AggregatorStorage
import Testing

@testable import NATSLog

@Suite("Messages that a member holds")
struct HeldMessagesTests {
  private let start = ContinuousClock.now

  private func message(_ sequence: Int64) -> LogMessage {
    LogMessage(
      partition: LogPartition("p"), position: sequence, stream: .messages, message: Message(body: "1", receivedAt: 0),
      redeliveries: 0, ticket: sequence)
  }

  @Test
  func `one that is delivered again while it is held is not taken again, and is acknowledged by its last delivery`() {
    var held = HeldMessages()
    let first = held.take(sequence: 1, reply: "first", deliveries: 1, now: start)
    let second = held.take(sequence: 1, reply: "second", deliveries: 2, now: start)
    #expect(first && !second)
    #expect(held.redelivered == 1 && held.count == 1 && held.contains(1))
    let released = [held.release([message(1), message(2)]), held.release([message(1)])]
    #expect(released == [["second"], []])
    let third = held.take(sequence: 1, reply: "third", deliveries: 3, now: start)
    #expect(third)
  }

  @Test func `the server is told of those of which it has heard nothing for long`() {
    var held = HeldMessages()
    _ = held.take(sequence: 1, reply: "a", deliveries: 1, now: start)
    _ = held.take(sequence: 2, reply: "b", deliveries: 1, now: start + .seconds(5))
    let told = [(4, 9), (8, 13), (8, 13)].map { limit, now in
      held.silent(since: start + .seconds(limit), now: start + .seconds(now))
    }
    #expect(told == [["a"], ["b"], []])
    let all = held.releaseAll()
    #expect(Set(all) == ["a", "b"])
    #expect(held.count == 0)
  }
}
