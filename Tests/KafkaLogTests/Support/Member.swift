import AggregatorStorage
import AggregatorTestSupport
import GRDB
import Logging
import Synchronization

@testable import KafkaLog

/// A member of a group with its pipeline, which stores until it is ended.
final class Member: Sendable {
  let consumer: KafkaConsumer
  private let pipeline: LogPipeline
  private let work: Task<Void, any Error>

  init(_ consumer: KafkaConsumer, sink: any Sink) throws {
    self.consumer = consumer
    var options = LogPipelineOptions()
    options.batchSize = 50
    options.linger = .milliseconds(2)
    options.maximumBackoff = .milliseconds(200)
    let pipeline = try LogPipeline(
      consumer: consumer, sink: sink, options: options, logger: Logger(label: "test"))
    self.pipeline = pipeline
    work = Task { try await pipeline.run() }
  }

  /// Stores what it has, commits, and leaves.
  func leave() async throws {
    pipeline.shutdown()
    try await work.value
  }

  /// Is gone without a word; what it was storing is not cared for.
  func vanish() async {
    await consumer.vanish()
    work.cancel()
    _ = await work.result
  }
}

/// What is in a database, by the table `messages`.
struct Stored {
  let bodies: [Int]
  /// Positions of each partition, in the order of storing.
  let positions: [String: [Int]]

  init(_ path: String) throws {
    let rows = try DatabaseQueue(path: path).read {
      try $0.tableExists("messages") ? Row.fetchAll($0, sql: "SELECT body, identity FROM messages ORDER BY id") : []
    }
    bodies = rows.compactMap { number(in: $0["body"] as String) }
    var positions: [String: [Int]] = [:]
    for row in rows {
      let parts = (row["identity"] as String).split(separator: "/")
      positions[String(parts[2]), default: []].append(Int(parts[3]) ?? -1)
    }
    self.positions = positions
  }
}

/// Produces until it is ended: messages from 0 on, a few at a time.
final class Flow: Sendable {
  private struct State {
    var count = 0
    var goesOn = true
  }

  /// Apart, because the task must not keep this object.
  private final class Box: Sendable {
    let state = Mutex(State())
  }

  private let box = Box()
  private let work: Task<Void, any Error>

  init(_ sink: KafkaSink) {
    work = Task { [box] in
      while box.state.withLock({ $0.goesOn }) {
        let count = box.state.withLock { $0.count }
        try await sink.write(numbered(count..<count + 20), to: .messages)
        box.state.withLock { $0.count += 20 }
        try await Task.sleep(for: .milliseconds(20))
      }
      try await sink.close()
    }
  }

  var count: Int { box.state.withLock { $0.count } }

  /// Returns how many there are.
  func end() async throws -> Int {
    box.state.withLock { $0.goesOn = false }
    try await work.value
    return count
  }
}
