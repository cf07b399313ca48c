import Batching

extension AggregatorStatistics {
  /// A ledger in which nothing has happened but what `build` says.
  static func having(_ build: (inout AggregatorStatistics) -> Void) -> AggregatorStatistics {
    var statistics = AggregatorStatistics()
    build(&statistics)
    return statistics
  }

  var addsUp: Bool { accepted == handled + failed + dropped + cancelled + held }
}
