@testable import Batching

extension Scenario {
  static let all: [Scenario] = [
    Scenario(name: "base", batchSize: 2, capacity: 3, producers: [[.send(), .trySend()], [.sendMany([0, 0])]], flushes: 1)
  ]
}

extension Scenario: CustomStringConvertible {
  var description: String { testDescription }
}
