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
  static let choice = getenv("EXHAUSTIVE").map { String(cString: $0) }
  private static let isFull = choice == "full"
  static let hasAllSizes = isFull || choice == "sizes"

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

  private static let themes: [Scenario] =
    sending + failing + ending + dropping + weighing + withdrawing + changing + attending

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

  private static let withdrawing = [
    Scenario(
      name: "requests are taken back", linger: 1, producers: [[.request(), .request(), .request()]], cancellations: 2),
    Scenario(
      name: "taken back, and a flush", producers: [[.request(), .request()]], flushes: 1, cancellations: 1),
    Scenario(
      name: "taken back with two workers", workers: 2, linger: 0, producers: [[.request(), .request()], [.request()]],
      cancellations: 1),
    Scenario(
      name: "taken back by weight", linger: 1, maximumBatchWeight: 3, maximumHeldWeight: 4,
      producers: [[.request(2), .request(1), .request(3)]], cancellations: 1),
    Scenario(
      name: "taken back and tried again", linger: 0, producers: [[.request(), .request()], [.request()]],
      cancellations: 1, faults: 1, faultKinds: [.retried, .partlyGivenUp]),
    Scenario(
      name: "taken back when run() is cancelled", producers: [[.request(), .request()]], cancellations: 1,
      ends: [.shutdown, .cancel]),
  ]

  private static let changing = [
    Scenario(
      name: "smaller batches", producers: [[.sendMany([0, 0, 0])], [.send()]],
      changes: [Change(batchSize: 1, capacity: 2)]),
    Scenario(
      name: "larger batches", linger: 0, producers: [[.sendMany([0, 0]), .send()]],
      changes: [Change(batchSize: 3, capacity: 4, linger: 1)]),
    Scenario(
      name: "slots go", workers: 2, linger: 0, producers: [[.send(), .send()]],
      changes: [Change(batchSize: 1, capacity: 2, workers: 1, linger: 0)]),
    Scenario(
      name: "slots go and come again", workers: 2, linger: 0, producers: [[.send()]],
      changes: [
        Change(batchSize: 2, capacity: 2, workers: 1, linger: 0),
        Change(batchSize: 1, capacity: 2, workers: 2, linger: 0),
      ]),
    Scenario(
      name: "slots come late", linger: 0, producers: [[.sendMany([0, 0])]],
      changes: [Change(batchSize: 1, capacity: 2, workers: 2, linger: 0)], ends: [.shutdown, .cancel], runsLate: true),
    Scenario(
      name: "another linger", linger: 3, producers: [[.send(), .send()]],
      changes: [Change(batchSize: 2, capacity: 2, linger: 1)], ticks: 2),
    Scenario(
      name: "less is held", linger: 0, producers: [[.sendMany([0, 0, 0])], [.send()]], cancellations: 1,
      changes: [Change(batchSize: 1, capacity: 1, linger: 0)]),
  ]

  /// Slots that go on without the lock.
  private static let attending = [
    Scenario(name: "inbox", producers: [[.sendMany([0, 0, 0])], [.send()]], hasInbox: true),
    Scenario(
      name: "inbox, no linger", linger: 0, producers: [[.sendMany([0, 0])], [.send(), .trySend()]], hasInbox: true),
    Scenario(
      name: "inbox, two workers", workers: 2, linger: 0, producers: [[.sendMany([0, 0])], [.send()]], hasInbox: true),
    Scenario(name: "inbox, flush", producers: [[.sendMany([0, 0])]], flushes: 1, hasInbox: true),
    Scenario(
      name: "inbox, a flush and two workers", workers: 2, producers: [[.sendMany([0, 0, 0])]], flushes: 1,
      cancellations: 1, hasInbox: true),
    Scenario(
      name: "inbox, senders are cancelled", linger: 0, producers: [[.sendMany([0, 0, 0])], [.send()]],
      cancellations: 1, hasInbox: true),
    Scenario(
      name: "inbox, reject", overflow: .reject, producers: [[.sendMany([0, 0, 0])], [.send(), .trySend()]],
      hasInbox: true),
    Scenario(
      name: "inbox, failures", producers: [[.sendMany([0, 0, 0])]], flushes: 1, faults: 2,
      faultKinds: [.retried, .halved, .givenUp], hasInbox: true),
    Scenario(
      name: "inbox, partial failures and two workers", workers: 2, linger: 0, producers: [[.sendMany([0, 0, 0])]],
      faults: 1, faultKinds: [.partlyGivenUp, .partlyRetried], hasInbox: true),
    Scenario(
      name: "inbox, run() is cancelled", linger: 0, producers: [[.send()], [.sendMany([0, 0])]], faults: 1,
      faultKinds: [.retried], ends: [.shutdown, .cancel], hasInbox: true),
    Scenario(
      name: "inbox, drain timeout", linger: 0, drainTimeout: 1, producers: [[.sendMany([0, 0])], [.send()]],
      hasInbox: true),
    Scenario(
      name: "inbox, smaller batches", producers: [[.sendMany([0, 0, 0])]],
      changes: [Change(batchSize: 1, capacity: 2)], hasInbox: true),
    Scenario(
      name: "inbox, slots go", workers: 2, linger: 0, producers: [[.sendMany([0, 0])]],
      changes: [Change(batchSize: 1, capacity: 2, workers: 1, linger: 0)], hasInbox: true),
  ]
}

extension Scenario: CustomStringConvertible {
  var description: String { testDescription }
}
