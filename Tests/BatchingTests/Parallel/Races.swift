import Batching
import BatchingTesting
import Foundation
import Testing

/// Two things at once, very often: whichever comes first, the outcome is one of those that are allowed.
@Suite("Races", .serialized, .timeLimit(.minutes(5)))
struct Races {
  @Test(arguments: batchSizes)
  func afterAShutdownNobodyIsAccepted(batchSize: Int) async throws {
    for _ in 0..<50 {
      let fates = FateRecorder<Int>()
      let aggregator = try Aggregator<Int>(configuration: .init(batchSize: batchSize, linger: .microseconds(100))) {
        batch in
        try await fates.record(batch) {}
      }
      let isDown = Watched(false)
      let accepted = Watched<[Int]>([])
      let tooLate = Watched(0)
      let finished = Watched(0)
      for thread in 0..<2 {
        Thread.detachNewThread {
          var message = thread
          while true {
            let wasDown = isDown.current
            let result = aggregator.trySend(message)
            if result == .accepted {
              accepted.change { $0.append(message) }
              message += 2
              if wasDown { tooLate.change { $0 += 1 } }
            }
            if result == .closed { break }
          }
          finished.change { $0 += 1 }
        }
      }
      try await whileRunning(aggregator) { run in
        try await accepted.wait { $0.count > 20 }
        aggregator.shutdown()
        isDown.change { $0 = true }
        try await finished.wait { $0 == 2 }
        try await run.value
      }
      #expect(tooLate.current == 0)
      #expect(fates.all == .of(handled: accepted.current))
    }
  }

  @Test(arguments: batchSizes)
  func aSendThatIsCancelledAsRoomAppearsIsEitherHandledOrThrows(batchSize: Int) async throws {
    let rig = try Rig(.init(batchSize: batchSize, linger: .zero, capacity: batchSize), handler: .open())
    let accepted = Watched<[Int]>([])
    try await rig.run { rig in
      try await withThrowingTaskGroup { group in
        for producer in 0..<4 {
          group.addTask {
            for turn in 0..<250 {
              let message = producer * 250 + turn
              let send = Task { try await rig.aggregator.send(message) }
              if turn.isMultiple(of: 2) { await Task.yield() }
              send.cancel()
              switch await send.result {
              case .success: accepted.change { $0.append(message) }
              case .failure(let error): #expect(error is CancellationError)
              }
            }
          }
        }
        try await group.waitForAll()
      }
      try await rig.aggregator.flush()
    }
    #expect(rig.fates.all == .of(handled: accepted.current))
  }

  @Test(arguments: batchSizes)
  func shutdownsFlushesAndSendsAtOnce(batchSize: Int) async throws {
    for round in 0..<100 {
      let rig = try Rig(.init(batchSize: batchSize, linger: .zero, concurrency: 2), handler: .open())
      let accepted = Watched<[Int]>([])
      try await rig.run { rig in
        try await withThrowingTaskGroup { group in
          for message in 0..<8 {
            group.addTask {
              do {
                try await rig.aggregator.send(message)
                accepted.change { $0.append(message) }
                try await rig.aggregator.flush()
                #expect(rig.fates.each[message] == .handled)
              } catch {
                #expect(error as? AggregatorError == .closed)
              }
            }
          }
          group.addTask {
            for _ in 0..<(round % 10) { await Task.yield() }
            rig.aggregator.shutdown()
          }
          try await group.waitForAll()
        }
      }
      #expect(rig.fates.all == .of(handled: accepted.current))
    }
  }

  @Test(arguments: batchSizes, slotCounts)
  func sequenceNumbersAreNeverUsedTwice(batchSize: Int, concurrency: Int) async throws {
    // What a number names is a list of messages, whatever splits, retries and partial failures do.
    let lists = Watched<[Int: Set<[Int]>]>([:])
    let aggregator = try Aggregator<Int>(
      configuration: .init(
        batchSize: batchSize, linger: .zero, concurrency: concurrency,
        retry: .exponential(maximumAttempts: 3, initial: .zero, maximum: .zero, isolatesPoisonMessages: true))
    ) { batch in
      _ = lists.change { $0[batch.sequenceNumber, default: []].insert(batch.messages) }
      if batch.attempt == 1, let offset = batch.firstIndex(where: { $0.isMultiple(of: 3) }) {
        throw PartialBatchFailure([offset: Failure()])
      }
      if batch.contains(where: { $0.isMultiple(of: 5) }) { throw Failure() }
    }
    try await whileRunning(aggregator) { _ in
      try await withThrowingTaskGroup { group in
        for producer in 0..<4 {
          group.addTask {
            for turn in 0..<50 { try await aggregator.send(producer * 50 + turn) }
          }
        }
        try await group.waitForAll()
      }
    }
    #expect(lists.current.values.allSatisfy { $0.count == 1 })
    #expect(Set(lists.current.values.joined()).count == lists.current.count, "and one list has one number")
  }
}
