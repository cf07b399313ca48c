@testable import Batching

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// The cases: each theme with each size of batch and capacity.
///
/// `EXHAUSTIVE=sizes` tries each theme with every size, `EXHAUSTIVE=full` gives the actors more to do as well; both take
/// long, and want an optimised build:
/// `swift test -c release -Xswiftc -enable-testing --filter Exhaustive`. Any other value picks the cases in whose description
/// it stands.
extension Scenario {
  private static let choice = getenv("EXHAUSTIVE").map { String(cString: $0) }
  private static let isFull = choice == "full"
  private static let hasAllSizes = isFull || choice == "sizes"

  /// Unless all sizes are wanted, a fifth of the sizes for each theme, and another fifth for the next theme.
  static let all: [Scenario] = {
    var sizes: [(Int, Int)] = []
    for batchSize in 1...3 {
      for capacity in batchSize...4 { sizes.append((batchSize, capacity)) }
    }
    var all: [Scenario] = []
    for (themeIndex, theme) in themes.enumerated() {
      for (sizeIndex, size) in sizes.enumerated() where hasAllSizes || (sizeIndex + themeIndex) % 5 == 2 {
        var scenario = theme
        if isFull { scenario.producers[0].append(.trySend(1)) }
        (scenario.batchSize, scenario.capacity) = size
        all.append(scenario)
      }
    }
    guard let choice, !hasAllSizes else { return all }
    return all.filter { $0.description.contains(choice) }
  }()

  private static let themes: [Scenario] = sending + failing + ending + dropping + weighing

  private static let sending = [
    Scenario(name: "flush", producers: [[.send()], [.trySend()]], flushes: 1),
    Scenario(name: "linger", producers: [[.send()], [.sendMany([0, 0])]], ticks: 2),
    Scenario(name: "no linger, two workers", workers: 2, linger: 0, producers: [[.send()], [.sendMany([0, 0])]]),
    Scenario(name: "three producers", linger: 0, producers: [[.send()], [.trySend()], [.sendMany([0, 0])]]),
    Scenario(
      name: "senders are cancelled", linger: 0, producers: [[.sendMany([0, 0, 0])], [.send()], [.send()]],
      cancellations: 1),
    Scenario(name: "a flush is cancelled", linger: 0, producers: [[.send(), .send()]], flushes: 2, cancellations: 1),
    Scenario(
      name: "reject", overflow: .reject, linger: 0, producers: [[.sendMany([0, 0, 0])], [.send(), .trySend()]]),
  ]

  private static let failing = [
    Scenario(
      name: "retries", linger: 0, producers: [[.sendMany([0, 0])], [.send()]], faults: 2,
      faultKinds: [.retried, .givenUp]),
    Scenario(
      name: "halves", linger: 0, producers: [[.sendMany([0, 0, 0])]], flushes: 1, faults: 3,
      faultKinds: [.halved, .givenUp]),
    Scenario(
      name: "partial failures", linger: 0, producers: [[.sendMany([0, 0, 0])]], flushes: 1, faults: 1,
      faultKinds: [.partlyGivenUp, .partlyRetried]),
  ]

  private static let ending = [
    Scenario(
      name: "run() is cancelled", linger: 0, producers: [[.send()], [.sendMany([0, 0])]], faults: 1,
      faultKinds: [.retried], ends: [.cancel]),
    Scenario(
      name: "cancelled while it drains", producers: [[.sendMany([0, 0])]], faults: 1, faultKinds: [.halved],
      ends: [.shutdown, .cancel]),
    Scenario(name: "run() comes late", producers: [[.send()], [.trySend()]], flushes: 1, runsLate: true),
    Scenario(name: "drain timeout", linger: 0, drainTimeout: 1, producers: [[.sendMany([0, 0])], [.send()]]),
    Scenario(name: "drain timeout, late", drainTimeout: 2, producers: [[.sendMany([0, 0])]], runsLate: true),
  ]

  private static let dropping = [
    Scenario(
      name: "drop with two workers", workers: 2, overflow: .dropOldest, linger: 1,
      producers: [[.sendMany([0, 0]), .sendMany([0, 0])]]),
    Scenario(
      name: "drop the oldest", overflow: .dropOldest, producers: [[.sendMany([0, 0, 0])], [.trySend(), .trySend()]],
      ticks: 2),
    Scenario(
      name: "drop and discard", overflow: .dropOldest, linger: 0,
      producers: [[.sendMany([0, 0, 0])], [.trySend()]], savesDrops: false),
    Scenario(
      name: "drop with a flush", overflow: .dropOldest, linger: 0,
      producers: [[.sendMany([0, 0]), .sendMany([0, 0, 0])]], flushes: 1),
  ]

  private static let weighing = [
    Scenario(
      name: "batch weight", linger: 0, maximumBatchWeight: 3, producers: [[.sendMany([2, 1])], [.sendMany([3, 4])]]),
    Scenario(
      name: "drop by weight", overflow: .dropOldest, linger: 1, maximumHeldWeight: 4,
      producers: [[.trySend(1), .trySend(2)], [.trySend(2)]], ticks: 2),
    Scenario(
      name: "held weight", linger: 0, maximumHeldWeight: 4,
      producers: [[.sendMany([2, 1])], [.send(3)], [.trySend(1)]],
      cancellations: 1, faults: 1, faultKinds: [.givenUp]),
  ]
}

extension Scenario: CustomStringConvertible {
  var description: String { testDescription }
}
