import Batching
import BatchingTesting

extension [Int: [Fate]] {
  /// What a recorder has seen when each of these messages had one fate.
  static func of(
    handled: [Int] = [], dropped: [Int] = [], failed: [Int] = [], because error: any Error = Failure()
  ) -> Self {
    var fates: Self = [:]
    for message in handled { fates[message, default: []].append(.handled) }
    for message in dropped { fates[message, default: []].append(.dropped) }
    for message in failed { fates[message, default: []].append(.failed(error)) }
    return fates
  }
}

extension GatedHandler where Input == Batch<Int> {
  /// The messages of each call, in the order in which they started.
  var batches: [[Int]] { inputs.map(\.messages) }
}
