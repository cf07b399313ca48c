import Batching
import BatchingTesting
import Testing

// The cases of graphql/dataloader's tests (`src/__tests__/dataloader.test.js`) that are about batching; docs/peers.md has the
// list, and those that are about its cache, which we have not.
@Suite("Peer: graphql/dataloader", .timeLimit(.minutes(5)))
struct DataLoaderCases {
  private struct Odd: Error, Equatable { var number: Int }

  private let seen = Watched<[[Int]]>([])

  // "batches multiple requests", "batches multiple requests with max batch sizes".
  @Test(arguments: [(3, [[1, 2, 3]]), (2, [[1, 2], [3]]), (1, [[1], [2], [3]])])
  func `batches multiple requests`(maxBatchSize: Int, batches: [[Int]]) async throws {
    let rig = try RequestRig(.init(batchSize: maxBatchSize), handler: .open())
    let calls = rig.begin([1, 2, 3])
    try await rig.run { _ in
      try await rig.aggregator.flush()
      for (call, number) in zip(calls, 1...3) { try await call.expect("\(number)") }
    }
    #expect(rig.handler.inputs.map(\.messages) == batches)
  }

  // "supports loading multiple keys in one call" and "… with errors": there is no `loadMany`; tasks do it.
  @Test
  func `several at once, one of them bad`() async throws {
    let rig = try RequestRig(.init(batchSize: 3)) { batch in
      batch.map { $0 == 13 ? .failure(Odd(number: 13)) : .success("\($0)") }
    }
    try await rig.run { _ in
      let calls = rig.begin([1, 2, 13])
      try await calls[0].expect("1")
      try await calls[1].expect("2")
      #expect(await calls[2].error as? Odd == Odd(number: 13))
    }
  }

  // "coalesces identical requests".
  @Test
  func `coalesces identical requests`() async throws {
    try await deduplicating(batchSize: 2) { aggregator in
      try await expectAll(aggregator, [1, 1])
    }
    #expect(seen.current == [[1]])
  }

  // "coalesces identical requests across sized batches" has [[1, 2], [3]] with a size of 2: its batch is full by keys that
  // differ. Ours is full by callers, so that no batch has more than that of them waiting.
  @Test
  func `coalesces identical requests across sized batches, by callers`() async throws {
    try await deduplicating(batchSize: 2) { aggregator in
      try await expectAll(aggregator, [1, 2, 1, 3])
    }
    #expect(seen.current == [[1, 2], [1, 3]])
  }

  // "applies maxBatchSize correctly with duplicate keys" has one call of three keys for seven loads.
  @Test
  func `a size counts callers, and duplicates are sent once`() async throws {
    try await deduplicating(batchSize: 7) { aggregator in
      try await expectAll(aggregator, [1, 2, 1, 1, 1, 2, 3])
    }
    #expect(seen.current == [[1, 2, 3]])
  }

  // "caches repeated requests" has one call: what has been answered is not remembered here, but asked for again.
  @Test
  func `does not cache repeated requests`() async throws {
    try await deduplicating(batchSize: 1) { aggregator in
      try await expectAll(aggregator, [1])
      try await expectAll(aggregator, [1])
    }
    #expect(seen.current == [[1], [1]])
  }

  // "Resolves to error to indicate failure", "Can represent failures and successes simultaneously".
  @Test
  func `can represent failures and successes simultaneously`() async throws {
    let rig = try RequestRig(.init(batchSize: 2)) { batch in
      batch.map { $0.isMultiple(of: 2) ? .success("\($0)") : .failure(Odd(number: $0)) }
    }
    try await rig.run { _ in
      let calls = rig.begin([1, 2])
      #expect(await calls[0].error as? Odd == Odd(number: 1))
      try await calls[1].expect("2")
    }
    #expect(rig.handler.count == 1)
  }

  // "Propagates error to all loads".
  @Test
  func `propagates an error to all loads`() async throws {
    let rig = try RequestRig(.init(batchSize: 2), handler: .open(), responses: { _ in throw Odd(number: 0) })
    try await rig.run { _ in
      for call in rig.begin([1, 2]) { #expect(await call.error as? Odd == Odd(number: 0)) }
    }
    #expect(rig.handler.count == 1)
  }

  // "Supports manual dispatch": what is `dispatch()` there is `flush()` here.
  @Test
  func `supports manual dispatch`() async throws {
    let rig = try RequestRig(.init(batchSize: 10, linger: .seconds(3600)), handler: .open())
    try await rig.run { _ in
      let first = rig.begin([1, 2])
      try await rig.aggregator.flush()
      let second = rig.begin([3])
      try await rig.aggregator.flush()
      for (call, number) in zip(first + second, 1...3) { try await call.expect("\(number)") }
    }
    #expect(rig.handler.inputs.map(\.messages) == [[1, 2], [3]])
  }

  // "can call a loader from a loader".
  @Test
  func `can call a loader from a loader`() async throws {
    let deep = try RequestRig(.init(batchSize: 4, linger: .zero), handler: .open())
    let outer = try RequestAggregator<Int, String>(configuration: .init(batchSize: 2)) { batch in
      try await withThrowingTaskGroup { group in
        for (offset, request) in batch.enumerated() {
          group.addTask { (offset, try await deep.aggregator.send(request)) }
        }
        var answers = Array(repeating: "", count: batch.count)
        for try await (offset, answer) in group { answers[offset] = answer }
        return answers
      }
    }
    try await deep.run { _ in
      async let running: Void = outer.run()
      try await expectAll(outer, [1, 2])
      outer.shutdown()
      try await running
    }
    #expect(deep.statistics.handled == 2)
  }

  private func deduplicating(
    batchSize: Int, _ body: (RequestAggregator<Int, String>) async throws -> Void
  ) async throws {
    let aggregator = try RequestAggregator<Int, String>(
      configuration: .init(batchSize: batchSize, linger: .seconds(3600)), deduplicating: true
    ) { batch in
      seen.change { $0.append(batch.messages) }
      return batch.map { "\($0)" }
    }
    async let running: Void = aggregator.run()
    try await body(aggregator)
    aggregator.shutdown()
    try await running
  }

  private func expectAll(_ aggregator: RequestAggregator<Int, String>, _ requests: [Int]) async throws {
    let calls = requests.map { request in Begun { try await aggregator.send(request) } }
    for (call, request) in zip(calls, requests) { try await call.expect("\(request)") }
  }
}
