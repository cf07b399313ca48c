import AggregatorStorage
import AggregatorTestSupport
import Foundation
import Logging
import Synchronization
import Testing

@testable import KafkaLog

/// Members that share a topic and come and go, each with a pipeline into one database.
@Suite(.timeLimit(.minutes(5))) struct GroupTests {
  private func expectAll(_ count: Int, _ path: String) throws {
    let stored = try Stored(path)
    #expect(stored.bodies.count == count, "each once")
    #expect(Set(stored.bodies) == Set(0..<count), "none missing")
    for (partition, positions) in stored.positions {
      #expect(positions == Array(0..<positions.count), "the order of partition \(partition)")
    }
  }

  private func share(_ members: [Member], _ flow: Flow) async throws {
    try await eventually("\(members.count) members share six partitions", within: .seconds(60)) {
      let assigned = members.map { $0.consumer.lag.assigned }
      return assigned.allSatisfy { $0.count == 6 / members.count } && Set(assigned.joined()).count == 6
    }
    let already = flow.count
    try await eventually("messages flow on") { flow.count >= already + 200 }
  }

  @Test func `Members come and go while messages flow, and each message is stored once, in order`() async throws {
    let cluster = try await KafkaCluster(brokers: 3, partitions: 6, roundTrip: 100)
    let folder = try TemporaryFolder()
    let sink = try SQLiteSink(path: folder.file("messages.db"))
    let flow = try Flow(cluster.sink(key: .value { "key-\((number(in: $0.body) ?? 0) % 50)" }))
    let one = try Member(cluster.consumer(), sink: sink)
    try await share([one], flow)
    let two = try Member(cluster.consumer(), sink: sink)
    try await share([one, two], flow)
    let three = try Member(cluster.consumer(), sink: sink)
    try await share([one, two, three], flow)
    try await one.leave()
    try await share([two, three], flow)
    await two.vanish()
    try await share([three], flow)

    let count = try await flow.end()
    try await eventually("all are stored", within: .seconds(60)) {
      try Stored(folder.file("messages.db")).bodies.count >= count
    }
    try await three.leave()
    try await sink.close()
    try expectAll(count, folder.file("messages.db"))

    // All that was stored is committed: nobody gets it again.
    let last = try cluster.consumer()
    try await eventually("the group is at the end", within: .seconds(60)) { last.lag.assigned.count == 6 }
    let next = Task { try await last.next(atMost: 1_000) }
    try await eventually("it is at the end") { last.lag.messages == 0 }
    await last.close()
    #expect(try await next.value.isEmpty)
  }

  @Test func `A backlog that is read slowly survives rebalances in the midst of it`() async throws {
    let cluster = try await KafkaCluster(brokers: 3, partitions: 6, roundTrip: 100)
    let folder = try TemporaryFolder()
    let file = try SQLiteSink(path: folder.file("messages.db"))
    let sink = SlowSink(file)
    let count = 30_000
    try await cluster.produce((0..<count).map { "k\($0 % 1_000)\t{\"n\":\($0)}" })
    let one = try Member(cluster.consumer(), sink: sink)
    try await eventually("it stores") { try Stored(folder.file("messages.db")).bodies.count > 500 }
    let two = try Member(cluster.consumer(), sink: sink)
    try await eventually("two share them", within: .seconds(60)) {
      one.consumer.lag.assigned.count == 3 && two.consumer.lag.assigned.count == 3
    }
    #expect(try Stored(folder.file("messages.db")).bodies.count < count, "in the midst of it")
    let three = try Member(cluster.consumer(), sink: sink)
    try await eventually("three share them", within: .seconds(60)) { three.consumer.lag.assigned.count == 2 }
    try await two.leave()
    try await eventually("all are stored", within: .seconds(120)) {
      try Stored(folder.file("messages.db")).bodies.count >= count
    }
    try await one.leave()
    try await three.leave()
    try await file.close()
    try expectAll(count, folder.file("messages.db"))
  }

  @Test func `A group that revokes everything at each rebalance works too`() async throws {
    let cluster = try await KafkaCluster(partitions: 4, roundTrip: 100)
    let folder = try TemporaryFolder()
    let sink = try SQLiteSink(path: folder.file("messages.db"))
    let flow = try Flow(cluster.sink(key: .value { "key-\((number(in: $0.body) ?? 0) % 50)" }))
    let one = try Member(cluster.consumer("partition.assignment.strategy=range"), sink: sink)
    try await eventually("one has all", within: .seconds(60)) { one.consumer.lag.assigned.count == 4 }
    let two = try Member(cluster.consumer("partition.assignment.strategy=range"), sink: sink)
    try await eventually("two share them", within: .seconds(60)) {
      one.consumer.lag.assigned.count == 2 && two.consumer.lag.assigned.count == 2
    }
    try await one.leave()
    try await eventually("two has all", within: .seconds(60)) { two.consumer.lag.assigned.count == 4 }
    let count = try await flow.end()
    try await eventually("all are stored", within: .seconds(60)) {
      try Stored(folder.file("messages.db")).bodies.count >= count
    }
    try await two.leave()
    try await sink.close()
    try expectAll(count, folder.file("messages.db"))
  }

  @Test func `What is in the log twice is stored once, where it has an identity`() async throws {
    let cluster = try await KafkaCluster(partitions: 2, roundTrip: 100)
    let folder = try TemporaryFolder()
    let sink = try SQLiteSink(path: folder.file("messages.db"))
    let target = try cluster.sink(key: .value { $0.body })
    // As when an acknowledgement was lost, and the batch is written again.
    for _ in 0..<2 { try await target.write(numbered(0..<100) { "id/\(cluster.topic)/0/\($0)" }, to: .messages) }
    try await target.close()
    let member = try Member(cluster.consumer(), sink: sink)
    try await eventually("all are committed", within: .seconds(60)) {
      member.consumer.committed.values.reduce(0, +) == 200
    }
    try await member.leave()
    try await sink.close()
    let stored = try Stored(folder.file("messages.db"))
    #expect(stored.bodies.sorted() == Array(0..<100))
  }

  @Test func `A member that is killed between the sink's commit and its own leaves nothing twice`() async throws {
    let cluster = try await KafkaCluster(partitions: 2, roundTrip: 100)
    let folder = try TemporaryFolder()
    let sink = try SQLiteSink(path: folder.file("messages.db"))
    try await cluster.produce((0..<500).map { "k\($0)\t{\"n\":\($0)}" })
    var options = KafkaConsumer.Options()
    options.commitInterval = .seconds(600)
    let first = try cluster.consumer(options: options)
    let messages = try await take(300, from: first)
    try await sink.write(messages.map(\.message), to: .messages)
    await first.acknowledge(messages)
    await first.vanish()
    #expect(first.committed.isEmpty)

    let second = try Member(cluster.consumer(), sink: sink)
    try await eventually("all are stored", within: .seconds(60)) {
      try Stored(folder.file("messages.db")).bodies.count >= 500
    }
    try await eventually("and committed") { second.consumer.committed.values.reduce(0, +) == 500 }
    try await second.leave()
    try await sink.close()
    try expectAll(500, folder.file("messages.db"))
  }

  @Test func `Partitions are given up only when what is in hands is settled and committed`() async throws {
    let cluster = try await KafkaCluster(partitions: 2, roundTrip: 100)
    try await cluster.produce((0..<100).map { "k\($0)\t{\"n\":\($0)}" })
    var options = KafkaConsumer.Options()
    options.commitInterval = .milliseconds(10)
    let first = try cluster.consumer(options: options)
    let messages = try await take(100, from: first)
    let second = try cluster.consumer()
    let next = Task { try await second.next(atMost: 100) }
    let partitions = Set(messages.map(\.partition))
    try await eventually("one partition is to be given up", within: .seconds(60)) { first.isLeaving }
    #expect(partitions.allSatisfy { partition in first.owns(messages.first { $0.partition == partition }!) })
    #expect(second.lag.assigned.isEmpty)
    await first.acknowledge(messages)
    try await eventually("the other member has it", within: .seconds(60)) { second.lag.assigned.count == 1 }
    #expect(first.lag.assigned.count == 1)
    try await eventually("nothing is left of it") { second.lag.messages == 0 }
    // It got none of those messages: all were committed before.
    await second.close()
    #expect(try await next.value.isEmpty)
    await first.close()
  }

  @Test func `What is not settled in time is another member's, and is not committed by the first`() async throws {
    let cluster = try await KafkaCluster(partitions: 2, roundTrip: 100)
    try await cluster.produce((0..<100).map { "k\($0)\t{\"n\":\($0)}" })
    var options = KafkaConsumer.Options()
    options.revokeTimeout = .milliseconds(100)
    let first = try cluster.consumer(options: options)
    let messages = try await take(100, from: first)
    let second = try cluster.consumer()
    let others = try await second.next(atMost: 100)
    let partition = try #require(others.first?.partition)
    let lost = messages.filter { $0.partition == partition }
    #expect(!first.owns(lost[0]))
    #expect(others.first?.position == 0)
    await first.acknowledge(messages)
    try await eventually("the first commits what it still has") { !first.committed.isEmpty }
    #expect(first.committed[partition] == nil)
    await first.close()
    await second.close()
  }

  @Test(.enabled(if: KafkaCluster.isMock))
  func `A sink that fails for a while costs neither messages nor membership`() async throws {
    let cluster = try await KafkaCluster(brokers: 3, partitions: 3, roundTrip: 100)
    let folder = try TemporaryFolder()
    let sink = FailingSink(try SQLiteSink(path: folder.file("messages.db")))
    try await cluster.produce((0..<1_000).map { "k\($0)\t{\"n\":\($0)}" })
    sink.isFailing.store(true, ordering: .relaxed)
    let member = try Member(cluster.consumer("max.poll.interval.ms=6000"), sink: sink)
    try await eventually("it fails", within: .seconds(60)) { sink.failures.load(ordering: .relaxed) > 40 }
    let assigned = member.consumer.lag.assigned
    #expect(assigned.count == 3)
    sink.isFailing.store(false, ordering: .relaxed)
    try await eventually("all are stored", within: .seconds(60)) {
      try Stored(folder.file("messages.db")).bodies.count >= 1_000
    }
    #expect(member.consumer.lag.redelivered == 0)
    try await member.leave()
    try expectAll(1_000, folder.file("messages.db"))
  }
}

/// A sink that fails when it is told to.
private final class FailingSink: Sink {
  let isFailing = Atomic(false)
  let failures = Atomic(0)
  private let sink: SQLiteSink

  init(_ sink: SQLiteSink) {
    self.sink = sink
  }

  func write(_ messages: [Message], to stream: StreamName) async throws {
    if isFailing.load(ordering: .relaxed) {
      failures.add(1, ordering: .relaxed)
      throw SinkError(description: "a test", isRetryable: true)
    }
    try await sink.write(messages, to: stream)
  }

  func check() async throws {}
  func close() async throws {}
}

/// A sink that takes its time.
private final class SlowSink: Sink {
  private let sink: SQLiteSink

  init(_ sink: SQLiteSink) {
    self.sink = sink
  }

  func write(_ messages: [Message], to stream: StreamName) async throws {
    try await Task.sleep(for: .milliseconds(100))
    try await sink.write(messages, to: stream)
  }

  func check() async throws {}
  func close() async throws {}
}
