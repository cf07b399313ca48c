import AggregatorStorage

extension Overview {
  /// How far a program that reads from a distributed log is behind, and what it reads.
  package struct Log: Sendable, Hashable, Codable {
    package struct Partition: Sendable, Hashable, Codable {
      package var name: String
      /// Messages of it that are in the log and not acknowledged; `nil` when that is not known.
      @Explicit package var behind: Int?
    }

    /// Messages that are in the log and not acknowledged; `nil` when that is not known, as during an outage.
    @Explicit package var behind: Int?
    /// Whether other members take from the same, so that `behind` is of all of them.
    package var isShared: Bool
    /// Partitions that are this member's, or durable consumers.
    package var assigned: Int
    /// Those that are furthest behind, at most 100, by name.
    package var partitions: [Partition]
    /// Messages that were delivered more than once, since the start.
    package var redelivered: Int
    package var sentence: String
  }
}

extension Overview.Log {
  /// More are not told apart: a series for each of thousands of partitions helps nobody.
  static let mostPartitions = 100

  init(_ lag: LogLag) {
    let all = lag.assigned.map { Partition(name: $0, behind: lag.behind[$0]) }
    let furthest = all.sorted { ($0.behind ?? 0, $1.name) > ($1.behind ?? 0, $0.name) }.prefix(Self.mostPartitions)
    self.init(
      behind: lag.messages, isShared: lag.isShared, assigned: lag.assigned.count,
      partitions: furthest.sorted { $0.name < $1.name }, redelivered: lag.redelivered, sentence: Self.sentence(lag))
  }

  private static func sentence(_ lag: LogLag) -> String {
    let behind =
      switch lag.messages {
      case nil: "It is not known how far behind"
      case 0?: "Nothing is behind"
      case 1?: "1 message behind"
      case let count?: "\(StreamState.grouped(count)) messages behind"
      }
    return behind + "; " + share(lag) + "."
  }

  private static func share(_ lag: LogLag) -> String {
    switch (lag.assigned.count, lag.isShared) {
    case (0, true): "the durable consumer has not been found yet"
    case (0, false): "no partition here: other members have them, or they are being shared out"
    case (_, true): "shared by all members of \(lag.assigned.joined(separator: ", "))"
    case (1, false): "1 partition here"
    case (let count, false): "\(StreamState.grouped(count)) partitions here"
    }
  }

  func write(to text: inout PrometheusText) {
    text.family("aggregator_log_behind_messages", .gauge, "Messages in the log that are not acknowledged.")
    text.sample("aggregator_log_behind_messages", number(behind))
    text.family("aggregator_log_partition_behind_messages", .gauge, "The same, of each that is assigned.")
    for partition in partitions {
      text.sample("aggregator_log_partition_behind_messages", [("partition", partition.name)], number(partition.behind))
    }
    text.family("aggregator_log_assigned_partitions", .gauge, "Partitions that are this member's.")
    text.sample("aggregator_log_assigned_partitions", assigned)
    text.family("aggregator_log_redelivered_messages_total", .counter, "Messages delivered more than once.")
    text.sample("aggregator_log_redelivered_messages_total", redelivered)
  }

  private func number(_ count: Int?) -> Double { count.map { Double($0) } ?? .nan }
}
