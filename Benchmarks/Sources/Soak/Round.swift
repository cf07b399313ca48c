import Batching
import BatchingTesting
import Foundation
import Synchronization

/// What messages carry: something on the heap, whose instances are counted.
final class Payload: Sendable {
  private static let count = Atomic(0)
  static var live: Int { count.load(ordering: .relaxed) }

  let bytes: [UInt8]

  init(size: Int) {
    bytes = [UInt8](repeating: 7, count: size)
    Self.count.add(1, ordering: .relaxed)
  }

  deinit { Self.count.subtract(1, ordering: .relaxed) }
}

struct Letter: Sendable {
  let id: UInt64
  let payload: Payload
}

/// Counts of accepted and settled messages, and sums of their numbers mixed: equal only if they are the same messages.
final class Ledger: Sendable {
  private let acceptedCount = Atomic(0)
  private let acceptedSum = Atomic<UInt64>(0)
  private let settledCount = Atomic(0)
  private let settledSum = Atomic<UInt64>(0)

  var accepted: Int { acceptedCount.load(ordering: .relaxed) }
  var settled: Int { settledCount.load(ordering: .relaxed) }

  func accept(_ id: UInt64) {
    acceptedCount.add(1, ordering: .relaxed)
    acceptedSum.wrappingAdd(mix(id), ordering: .relaxed)
  }

  func settle(_ letter: Letter) {
    settledCount.add(1, ordering: .relaxed)
    settledSum.wrappingAdd(mix(letter.id), ordering: .relaxed)
  }

  private func mix(_ id: UInt64) -> UInt64 {
    var generator = SeededGenerator(seed: id)
    return generator.next()
  }

  func check(_ statistics: AggregatorStatistics, _ what: String) throws {
    let sumsAgree = acceptedSum.load(ordering: .relaxed) == settledSum.load(ordering: .relaxed)
    let counts = (statistics.accepted, statistics.handled + statistics.failed + statistics.dropped)
    guard sumsAgree, accepted == settled, counts == (accepted, settled), statistics.held == 0 else {
      throw SoakFailure("\(what): \(accepted) accepted, \(settled) settled, \(statistics)")
    }
  }
}

/// One aggregator from its beginning to its end, with a load of its own.
final class Round: Sendable {
  let ledger = Ledger()
  let seconds: Int
  private let seed: UInt64
  private let number: Int
  private let isLongLived: Bool
  private let configuration: AggregatorConfiguration

  init(seed: UInt64, number: Int, isLongLived: Bool) {
    var generator = SeededGenerator(seed: seed &+ UInt64(number) &* 0x1_0000_0001)
    func pick<Choice>(_ choices: Choice...) -> Choice {
      choices[Int.random(in: 0..<choices.count, using: &generator)]
    }
    var configuration = AggregatorConfiguration()
    configuration.batchSize = pick(1, 2, 8, 64, 512)
    configuration.linger = pick(.zero, .milliseconds(1), .milliseconds(20))
    configuration.concurrency = pick(1, 2, 8)
    configuration.capacity = pick(nil, configuration.batchSize, configuration.batchSize * 3)
    configuration.overflow = pick(.suspend, .suspend, .reject, .dropOldest)
    configuration.retry = pick(
      .never, .exponential(maximumAttempts: 3, initial: .milliseconds(1), maximum: .milliseconds(8)),
      .exponential(
        maximumAttempts: 2, initial: .milliseconds(1), maximum: .milliseconds(2), isolatesPoisonMessages: true))
    configuration.handlerTimeout = pick(nil, .milliseconds(20))
    configuration.drainTimeout = pick(nil, .milliseconds(50))
    if isLongLived {
      configuration.overflow = .suspend
      configuration.drainTimeout = nil
    }
    self.configuration = configuration
    self.seed = generator.next()
    self.number = number
    self.isLongLived = isLongLived
    seconds = Int.random(in: 2...8, using: &generator)
  }

  func run(until end: ContinuousClock.Instant) async throws {
    let ledger = ledger
    // A partial failure that is thrown after the time was up counts as a time-out, and all come again.
    let failsPartly = configuration.handlerTimeout == nil
    let aggregator = try Aggregator<Letter>(configuration: configuration) { batch in
      let mood = UInt64.random(in: 0..<1_000)
      if mood < 100 { try await Task.sleep(for: .microseconds(mood * 100)) }
      if mood < 5 { try await Task.sleep(for: .milliseconds(40)) }
      switch mood {
      case 980...: throw SoakFailure("simulated")
      case 960..<980 where batch.count > 1 && failsPartly:
        for letter in batch.dropFirst() { ledger.settle(letter) }
        throw PartialBatchFailure([0: SoakFailure("simulated")])
      default:
        for letter in batch { ledger.settle(letter) }
      }
    } onFailure: { failure in
      for item in failure.items { ledger.settle(item.message) }
    }
    let run = Task { try await aggregator.run() }
    let senders = Senders(aggregator: aggregator, ledger: ledger, round: UInt64(number))
    var generator = SeededGenerator(seed: seed)
    await senders.send(until: end, using: &generator)
    let isCancelled = !isLongLived && Int.random(in: 0..<4, using: &generator) == 0
    if isCancelled { run.cancel() } else { aggregator.shutdown() }
    do {
      try await run.value
    } catch is CancellationError where isCancelled {
    }
    try ledger.check(aggregator.statistics, "round \(number) with \(configuration)")
  }
}

/// Tasks and threads that send in bursts, with pauses that leave the machine to others.
private struct Senders: Sendable {
  let aggregator: Aggregator<Letter>
  let ledger: Ledger
  let round: UInt64

  func send(until end: ContinuousClock.Instant, using generator: inout SeededGenerator) async {
    let tasks = Int.random(in: 1...16, using: &generator)
    let threads = Int.random(in: 0...2, using: &generator)
    let seed = generator.next()
    let threadsLeft = AsyncStream<Void>.makeStream()
    for index in 0..<threads {
      Thread.detachNewThread {
        tryUntil(end, sender: UInt64(tasks + index), seed: seed)
        threadsLeft.continuation.yield()
      }
    }
    await withDiscardingTaskGroup { group in
      for index in 0..<tasks {
        group.addTask { await sendUntil(end, sender: UInt64(index), seed: seed) }
      }
      group.addTask {
        while ContinuousClock.now < end {
          try? await aggregator.flush()
          try? await Task.sleep(for: .milliseconds(30))
        }
      }
    }
    var iterator = threadsLeft.stream.makeAsyncIterator()
    for _ in 0..<threads { await iterator.next() }
  }

  private func letter(_ sender: UInt64, _ index: inout UInt64, _ generator: inout SeededGenerator) -> Letter {
    index += 1
    return Letter(
      id: round << 48 | sender << 40 | index, payload: Payload(size: Int.random(in: 0...400, using: &generator)))
  }

  private func sendUntil(_ end: ContinuousClock.Instant, sender: UInt64, seed: UInt64) async {
    var generator = SeededGenerator(seed: seed &+ sender)
    var index: UInt64 = 0
    while ContinuousClock.now < end {
      for _ in 0..<Int.random(in: 1...60, using: &generator) {
        if Int.random(in: 0..<8, using: &generator) == 0 {
          let letters = (0..<Int.random(in: 1...40, using: &generator)).map { _ in
            letter(sender, &index, &generator)
          }
          do {
            try await aggregator.send(contentsOf: letters)
            for letter in letters { ledger.accept(letter.id) }
          } catch {
            for letter in letters.prefix(error.acceptedCount) { ledger.accept(letter.id) }
          }
        } else {
          let letter = letter(sender, &index, &generator)
          // A refused one is not ours any more.
          if (try? await aggregator.send(letter)) != nil { ledger.accept(letter.id) }
        }
      }
      try? await Task.sleep(for: .milliseconds(Int.random(in: 5...40, using: &generator)))
    }
  }

  private func tryUntil(_ end: ContinuousClock.Instant, sender: UInt64, seed: UInt64) {
    var generator = SeededGenerator(seed: seed &+ sender)
    var index: UInt64 = 0
    while ContinuousClock.now < end {
      for _ in 0..<Int.random(in: 1...200, using: &generator) {
        let letter = letter(sender, &index, &generator)
        if aggregator.trySend(letter) == .accepted { ledger.accept(letter.id) }
      }
      Thread.sleep(forTimeInterval: Double.random(in: 0.005...0.04, using: &generator))
    }
  }
}
