import CKafka
import Foundation
import Logging

/// Which commit is under way, and when the next may begin.
struct Committer {
  /// Tells one commit from another.
  private(set) var number = 0
  private(set) var underWay: [Assignment.Commit] = []
  /// After a failure, until when the next one waits.
  private var next = ContinuousClock.now

  /// Whether one is under way.
  var isBusy: Bool { !underWay.isEmpty }

  /// Whether one may begin.
  var isReady: Bool { !isBusy && ContinuousClock.now >= next }

  /// One begins.
  mutating func begin(_ commits: [Assignment.Commit]) {
    number += 1
    underWay = commits
  }

  /// It is over.
  ///
  /// What was not taken is tried again, not at once.
  mutating func end(hasFailed: Bool) {
    underWay = []
    if hasFailed { next = .now + .milliseconds(100) }
  }
}

extension ConsumerThread {
  /// Commits what is acknowledged if the group is at rest; librdkafka tells its state every
  /// ``KafkaConsumer/Options/commitInterval``.
  ///
  /// A commit that is sent behind a request to join would be answered after the new generation has begun, as one of an old
  /// generation, and librdkafka would give up all partitions for that. There is no other way to know that a join is under
  /// way, and the thread that tells is the one that joins: what it has told a moment ago is true but for a moment.
  func commitIfSteady(_ event: OpaquePointer) {
    guard let statistics = rd_kafka_event_stats(event), strstr(statistics, "\"join_state\": \"steady\"") != nil else {
      return
    }
    commit()
  }

  /// Begins a commit of what is acknowledged, where there is something and no other is under way.
  func commit() {
    guard committer.isReady else { return }
    let commits = state.withAssignment { $0.commits() }
    guard !commits.isEmpty else { return }
    let list = rd_kafka_topic_partition_list_new(Int32(commits.count))
    defer { rd_kafka_topic_partition_list_destroy(list) }
    for commit in commits {
      rd_kafka_topic_partition_list_add(list, commit.place.topic, commit.place.number).pointee.offset = commit.offset
    }
    committer.begin(commits)
    // Without a callback, the answer is an event of the queue.
    let code = rd_kafka_commit_queue(
      client.pointer, list, client.queue, nil, UnsafeMutableRawPointer(bitPattern: committer.number))
    if code != RD_KAFKA_RESP_ERR_NO_ERROR { failCommit(KafkaError(code)) }
  }

  /// Takes the coordinator's answer.
  func finishCommit(_ event: OpaquePointer) {
    // One that was given up is answered late.
    guard committer.isBusy, UInt(bitPattern: rd_kafka_event_opaque(event)) == UInt(committer.number) else { return }
    let code = rd_kafka_event_error(event)
    guard code == RD_KAFKA_RESP_ERR_NO_ERROR, let list = rd_kafka_event_topic_partition_list(event) else {
      failCommit(KafkaError(code))
      return
    }
    var refused: [Assignment.Place: KafkaError] = [:]
    for index in 0..<Int(list.pointee.cnt) {
      let element = list.pointee.elems[index]
      guard element.err != RD_KAFKA_RESP_ERR_NO_ERROR else { continue }
      refused[Assignment.Place(topic: String(cString: element.topic), number: element.partition)] = KafkaError(
        element.err)
    }
    state.succeeded(committer.underWay.filter { refused[$0.place] == nil })
    if let (_, error) = refused.first {
      failCommit(error)
    } else {
      committer.end(hasFailed: false)
    }
  }

  /// A commit failed, such as in the midst of a rebalance; the same, or more, is committed later if it is still this
  /// member's.
  private func failCommit(_ error: KafkaError) {
    for index in leaving.indices where leaving[index].settledAt != nil { leaving[index].refusal = error }
    committer.end(hasFailed: true)
    logger.info(
      "offsets are not committed yet", metadata: ["kafka.address": "\(address)", "kafka.error": "\(error)"])
  }
}
