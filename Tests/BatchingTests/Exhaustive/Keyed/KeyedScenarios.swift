@testable import Batching

extension KeyedScenario {
  /// The cases; `EXHAUSTIVE=` with a part of a description picks some.
  static let all: [KeyedScenario] = {
    guard let choice = Scenario.choice, !Scenario.hasAllSizes else { return cases }
    return cases.filter { $0.description.contains(choice) }
  }()

  private static let cases = [
    KeyedScenario(name: "two keys", workers: 2, producers: [[.sendMany([0, 1])], [.send(0)]]),
    KeyedScenario(
      name: "keys linger", batchSize: 2, linger: 2, producers: [[.send(0), .send(1)], [.send(0)]], ticks: 2),
    KeyedScenario(name: "a busy key", capacity: 3, producers: [[.sendMany([0, 0, 1])], [.trySend(1)]]),
    KeyedScenario(
      name: "a busy key", batchSize: 2, capacity: 4, producers: [[.sendMany([0, 0, 0, 1])], [.trySend(1)]]),
    KeyedScenario(
      name: "keys wait in line", capacity: 1, producers: [[.sendMany([0, 1])], [.send(1)]], cancellations: 1),
    KeyedScenario(
      name: "keys wait for a share", capacity: 2, producers: [[.sendMany([0, 0])], [.sendMany([0, 1])]],
      cancellations: 1),
    KeyedScenario(
      name: "a key backs off", workers: 2, producers: [[.sendMany([0, 0, 1])]], faults: 1,
      faultKinds: [.retried, .givenUp]),
    KeyedScenario(
      name: "a key goes on at once", batchSize: 2, producers: [[.sendMany([0, 0])], [.send(1)]], faults: 2,
      faultKinds: [.halved, .retried], backOff: 0),
    KeyedScenario(
      name: "a part of a key", batchSize: 2, capacity: 3, linger: 1, producers: [[.sendMany([0, 0, 0])]], faults: 1,
      faultKinds: [.partlyGivenUp, .partlyRetried]),
    KeyedScenario(
      name: "keys and a flush", batchSize: 2, capacity: 4, linger: 2, producers: [[.send(0), .send(1)]], flushes: 1),
    KeyedScenario(
      name: "keys when run() is cancelled", producers: [[.send(0), .send(1)]], faults: 1, faultKinds: [.retried],
      ends: [.cancel]),
    KeyedScenario(
      name: "keys cancelled while they drain", batchSize: 2, producers: [[.sendMany([0, 0])]], faults: 1,
      faultKinds: [.halved, .retried], ends: [.shutdown, .cancel]),
    KeyedScenario(
      name: "keys and a drain timeout", drainTimeout: 1, producers: [[.send(0), .send(1)]], faults: 1,
      faultKinds: [.retried], backOff: 2),
    KeyedScenario(
      name: "keys, and smaller batches", batchSize: 2, capacity: 4, linger: 2, producers: [[.sendMany([0, 0, 1])]],
      changes: [Scenario.Change(batchSize: 1, capacity: 2, workers: 1, linger: 1)]),
    KeyedScenario(
      name: "keys, and slots that go", workers: 2, producers: [[.send(0), .send(1)]],
      changes: [Scenario.Change(batchSize: 1, capacity: 2, workers: 1, linger: 0)]),
  ]
}
