import Batching
import BatchingTesting
import Testing

/// Messages of every size and shape come out as they went in, in batches that are larger than what is taken at first.
@Suite("Any kind of message", .timeLimit(.minutes(5)))
struct AnyKindOfMessage {
  private final class Object: Hashable, Sendable {
    let id: Int

    init(_ id: Int) { self.id = id }

    static func == (left: Object, right: Object) -> Bool { left === right }
    func hash(into hasher: inout Hasher) { hasher.combine(id) }
  }

  private struct Mixed: Hashable {
    var flag: Bool
    var text: String
    var object: Object?
    var byte: UInt8
  }

  @Test
  func values() async throws {
    try await expectUnchanged((0..<3000).map { UInt8(truncatingIfNeeded: $0) })
    try await expectUnchanged((0..<3000).map { _ in Nothing() })
    try await expectUnchanged((0..<3000).map { SIMD64<Double>(repeating: Double($0)) })
    try await expectUnchanged((0..<3000).map { $0.isMultiple(of: 3) ? nil : "a string that is on the heap: \($0)" })
  }

  @Test
  func references() async throws {
    let objects = (0..<3000).map { Object($0) }
    try await expectUnchanged(objects)
    try await expectUnchanged(
      objects.map { Mixed(flag: $0.id.isMultiple(of: 2), text: "\($0.id)", object: $0, byte: UInt8($0.id % 256)) })
    try await expectUnchanged(objects.map { [$0, $0] })
  }

  @Test
  func noMessagesAtAll() async throws {
    let aggregator = try Aggregator<Int>(configuration: .init(batchSize: 3)) { _ in }
    // Before there is an open batch, with and without memory of its own behind the slice.
    try await aggregator.send(contentsOf: [])
    try await aggregator.send(contentsOf: [1, 2][2...])
    #expect(aggregator.statistics.accepted == 0)
    try await aggregator.send(contentsOf: [1, 2])
    try await aggregator.send(contentsOf: [3, 4][2...])
    #expect(aggregator.statistics.accepted == 2)
    try await whileRunning(aggregator) { _ in }
    #expect(aggregator.statistics.handled == 2)
  }

  private struct Nothing: Hashable {}

  private func expectUnchanged<Message: Hashable & Sendable>(
    _ messages: [Message], sourceLocation: SourceLocation = #_sourceLocation
  ) async throws {
    for (batchSize, overflow) in [(1, .suspend), (7, .suspend), (3000, .suspend), (3000, OverflowPolicy.dropOldest)] {
      let handled = Watched<[Message]>([])
      let aggregator = try Aggregator<Message>(
        configuration: .init(batchSize: batchSize, linger: .seconds(3600), capacity: 4000, overflow: overflow)
      ) { batch in handled.change { $0 += batch.messages } }
      try await whileRunning(aggregator) { _ in
        for message in messages.prefix(1000) { try await aggregator.send(message) }
        for message in messages[1000..<2000] { _ = aggregator.trySend(message) }
        try await aggregator.send(contentsOf: messages[2000...])
      }
      #expect(handled.current == messages, sourceLocation: sourceLocation)
    }
  }

  @Test(arguments: [100, 1000, 3000])
  func pushedOutAmongManyTheyKeepTheirOrder(batchSize: Int) async throws {
    let handled = Watched<[String]>([])
    let dropped = Watched<[String]>([])
    let aggregator = try Aggregator<String>(
      configuration: .init(batchSize: batchSize, linger: .seconds(3600), capacity: 3000, overflow: .dropOldest)
    ) { batch in
      handled.change { $0 += batch.messages }
    } onFailure: { failure in
      dropped.change { $0 += failure.messages }
    }
    let messages = (0..<6000).map { "a string that is on the heap: \($0)" }
    // Before run(), so that nothing leaves but by being pushed out.
    try await aggregator.send(contentsOf: messages)
    #expect(aggregator.trySend("one too many for those that wait for onFailure") == .full)
    try await whileRunning(aggregator) { _ in }
    #expect(dropped.current == Array(messages[..<3000]))
    #expect(handled.current == Array(messages[3000...]))
  }
}
