package import AggregatorStorage
import CKafka
package import Logging

/// A member of a consumer group.
///
/// It takes part in the group, whether somebody asks for messages or not: messages lie in librdkafka's bounded queue until
/// ``next(atMost:)`` takes them, and a thread goes on with heartbeats, rebalances and commits. So a sink that is down for
/// hours costs no membership.
///
/// Committed is of each partition what was acknowledged without a gap. A partition that is to be given up is drained: what
/// is in hands may be settled within ``Options/revokeTimeout``, is committed, and only then another member gets it.
/// Partitions that were lost (the group has already given them away) are dropped, and nothing of them is committed any
/// more.
package final class KafkaConsumer: LogConsumer {
  /// How a member behaves.
  package struct Options: Sendable, Hashable {
    /// The stream of messages for which neither the topic nor the header `Stream` names one.
    package var stream = StreamName.messages
    /// The longest that giving up partitions waits for what is in hands; at most two thirds of `max.poll.interval.ms`.
    ///
    /// The default is 30 s.
    package var revokeTimeout = Duration.seconds(30)
    /// How often offsets are committed, where there is something to commit; at least 10 ms.
    ///
    /// The default is 200 ms. What is not committed is read again after a crash; a sink that keeps identities does not store it again.
    package var commitInterval = Duration.milliseconds(200)
    /// The longest that ``KafkaConsumer/close()`` tries to commit, and then to leave.
    ///
    /// The default is 10 s for each.
    package var closeTimeout = Duration.seconds(10)

    /// Makes options, each with its default.
    package init() {}
  }

  private let state: ConsumerState

  /// Joins a group.
  ///
  /// Nothing is connected when it returns, so a cluster that is not there is no error.
  ///
  /// - Throws: ``ProgramError`` that says which parameter is refused, and why.
  package init(_ address: KafkaAddress, options: Options = Options(), logger: Logger) throws(ProgramError) {
    guard let group = address.group else {
      throw ProgramError("\(address) names no group: give kafka://…?group=NAME; its members share the messages")
    }
    let configuration = try KafkaConfiguration(
      address,
      defaults: [
        ("auto.offset.reset", "earliest"),
        // Only partitions that move are given up; the others go on. And they are given up between two generations, when the
        // coordinator takes commits, which it does not in the midst of a rebalance.
        ("partition.assignment.strategy", "cooperative-sticky"),
        ("queued.max.messages.kbytes", "32768"),
      ],
      fixed: [
        ("group.id", group), ("enable.auto.commit", "false"), ("enable.auto.offset.store", "false"),
        ("enable.partition.eof", "true"),
        ("statistics.interval.ms", "\(max(10, Int(options.commitInterval / .milliseconds(1))))"),
      ])
    var options = options
    let interval = configuration.value(of: "max.poll.interval.ms").flatMap { Int($0) } ?? 300_000
    options.revokeTimeout = min(options.revokeTimeout, .milliseconds(interval * 2 / 3))
    configuration.enable(
      RD_KAFKA_EVENT_REBALANCE | RD_KAFKA_EVENT_OFFSET_COMMIT | RD_KAFKA_EVENT_ERROR | RD_KAFKA_EVENT_LOG
        | RD_KAFKA_EVENT_STATS)
    let client = try KafkaClient(RD_KAFKA_CONSUMER, address, configuration, logger: logger)
    let state = ConsumerState()
    self.state = state
    KafkaThread.start("kafka consumer") { [options] in
      ConsumerThread(client, state, address, options, logger: logger).run()
    }
  }

  deinit {
    state.close()
  }

  package func next(atMost limit: Int) async throws -> [LogMessage] {
    try await state.next(atMost: limit)
  }

  package func owns(_ message: LogMessage) -> Bool {
    state.withAssignment { $0.owns(message) }
  }

  /// What is said of them is counted at once; the commit follows within the commit interval.
  package func acknowledge(_ messages: [LogMessage]) async {
    state.withAssignment { $0.acknowledge(messages) }
    state.bell.ring()
  }

  /// They are kept and handed out again by this member, unless their partition goes: then the next member reads them.
  package func giveBack(_ messages: [LogMessage]) async {
    state.withAssignment { _ = $0.giveBack(messages) }
    state.bell.ring()
  }

  package func stop() {
    state.stop()
  }

  package func close() async {
    state.close()
    await state.end.wait()
  }

  package var lag: LogLag { state.lag }

  /// For tests: is gone without a word, as when the process is killed.
  ///
  /// Nothing is committed, and it does not leave the group.
  func vanish() async {
    state.vanish()
    await state.end.wait()
  }

  /// For tests: the offsets that the coordinator is known to have taken.
  var committed: [LogPartition: Int64] { state.committed }

  /// For tests: whether partitions are to be given up.
  var isLeaving: Bool { state.withAssignment { $0.isLeaving } }
}
