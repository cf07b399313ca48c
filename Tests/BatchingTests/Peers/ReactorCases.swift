import Batching
import BatchingTesting
import Testing

// The cases of Reactor's `FluxBufferTimeoutTest`, and of what its users reported of `bufferTimeout`; docs/peers.md has the
// list. Elements come on a manual clock, as there on a virtual one.
@Suite("Peer: Reactor's bufferTimeout", .timeLimit(.minutes(5)))
struct ReactorCases {
  private struct Boom: Error {}

  private let clock = ManualClock()
  private let source = AsyncThrowingStream.makeStream(of: Int.self)
  private let read = Watched(0)
  private let batches = Watched<[[Int]]>([])

  // Begins to consume.
  private func consume(size: Int, after linger: Duration) -> Begun<Void> {
    let sequence = source.stream.map { [read] element in
      read.change { $0 += 1 }
      return element
    }.batched(size: size, linger: linger, clock: clock)
    return Begun { for try await batch in sequence { batches.change { $0.append(batch.messages) } } }
  }

  private func yield(_ element: Int) async throws {
    source.continuation.yield(element)
    let count = read.current + 1
    try await read.wait { $0 >= count }
  }

  // bufferWithTimeoutAccumulateOnSize: five of six are full, and the sixth comes at the end.
  @Test
  func `accumulates on size`() async throws {
    let consumer = consume(size: 5, after: .milliseconds(2000))
    for element in 1...6 {
      clock.advance(by: .milliseconds(300))
      try await yield(element)
    }
    try await batches.wait { $0 == [[1, 2, 3, 4, 5]] }
    source.continuation.finish()
    try await consumer.value
    #expect(batches.current == [[1, 2, 3, 4, 5], [6]])
  }

  // bufferWithTimeoutAccumulateOnTime: the time runs from the first element.
  @Test
  func `accumulates on time`() async throws {
    let consumer = consume(size: 15, after: .nanoseconds(1500))
    for element in 1...5 {
      clock.advance(by: .nanoseconds(300))
      try await yield(element)
      try await clock.waitForSleeper(until: .nanoseconds(1800))
    }
    #expect(batches.current == [])
    clock.advance(by: .nanoseconds(300))
    try await batches.wait { $0 == [[1, 2, 3, 4, 5]] }
    try await yield(6)
    source.continuation.finish()
    try await consumer.value
    #expect(batches.current == [[1, 2, 3, 4, 5], [6]])
  }

  // bufferWithTimeoutThrowingExceptionOnTimeOrSizeIfDownstreamDemandIsLow, discardOnFlushWithoutRequest, #1557: without demand
  // Reactor fails with an overflow. Here the batch waits, grows up to its size, and the base is not read any further.
  @Test
  func `low demand is backpressure and no error`() async throws {
    let sequence = source.stream.map { [read] element in
      read.change { $0 += 1 }
      return element
    }.batched(size: 3, linger: .milliseconds(100), clock: clock)
    for element in 1...9 { source.continuation.yield(element) }
    source.continuation.finish()
    var iterator = sequence.makeAsyncIterator()
    #expect(try await iterator.next(isolation: nil)?.messages == [1, 2, 3])
    clock.advance(by: .seconds(10))
    try await read.wait { $0 == 6 }
    await settle()
    #expect(read.current == 6)
    #expect(try await iterator.next(isolation: nil)?.messages == [4, 5, 6])
    #expect(try await iterator.next(isolation: nil)?.messages == [7, 8, 9])
    #expect(try await iterator.next(isolation: nil) == nil)
  }

  // #3416, #4185, #4377: no empty and no premature buffers. A time that belongs to a batch that was full says nothing about the
  // next, and an idle base has no batches.
  @Test
  func `no empty and no premature batches`() async throws {
    let consumer = consume(size: 2, after: .seconds(10))
    try await yield(1)
    try await clock.waitForSleeper(until: .seconds(10))
    clock.advance(by: .seconds(9))
    try await yield(2)
    try await batches.wait { $0 == [[1, 2]] }
    try await yield(3)
    clock.advance(by: .seconds(9))
    await settle()
    #expect(batches.current == [[1, 2]])
    clock.advance(by: .seconds(1))
    try await batches.wait { $0 == [[1, 2], [3]] }
    clock.advance(by: .seconds(100))
    source.continuation.finish()
    try await consumer.value
    #expect(batches.current == [[1, 2], [3]])
  }

  // discardOnError: Reactor drops 1, 2, 3 and fails. Here they are a batch, and the error comes after it.
  @Test
  func `an error comes after the elements before it`() async throws {
    let consumer = consume(size: 10, after: .milliseconds(100))
    for element in 1...3 { source.continuation.yield(element) }
    source.continuation.finish(throwing: Boom())
    #expect(await consumer.error is Boom)
    #expect(batches.current == [[1, 2, 3]])
  }

  // discardOnCancel: Reactor drops what it has. Here a consumer that is cancelled while it waits is given that first, and the
  // base is cancelled.
  @Test
  func `a cancelled consumer gets what was read, and the base is cancelled`() async throws {
    let isCancelled = Watched(false)
    source.continuation.onTermination = { if case .cancelled = $0 { isCancelled.change { $0 = true } } }
    let consumer = consume(size: 10, after: .milliseconds(100))
    for element in 1...3 { try await yield(element) }
    try await clock.waitForSleeper(until: .milliseconds(100))
    consumer.cancel()
    _ = await consumer.result
    #expect(batches.current == [[1, 2, 3]])
    try await isCancelled.wait { $0 }
  }
}
