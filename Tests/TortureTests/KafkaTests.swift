#if KAFKA
  import AggregatorTestSupport
  import BatchingTesting
  import Foundation
  import Testing

  /// Edges before a Kafka cluster of three brokers (librdkafka's mock), members of one group behind it, and all that may
  /// happen to them.
  @Suite("Edges, Kafka and members", .serialized, .timeLimit(.minutes(60)))
  struct KafkaTests {
    @Test
    func `members come, go and are killed, brokers fail: nothing acknowledged is missing, nothing is stored twice`()
      async throws
    {
      try await KafkaTorture(members: 3, blows: KafkaBlow.allCases).run()
    }
  }

  /// The same with one member that stays, which the mock bears as a rule: its assertions fail while members join.
  @Suite("Edges, Kafka and a member", .serialized, .timeLimit(.minutes(60)))
  struct KafkaBrokerTests {
    @Test func `brokers fail and edges are killed: nothing acknowledged is missing, nothing is stored twice`()
      async throws
    {
      try await KafkaTorture(members: 1, blows: [.brokerDown, .errors, .killEdge]).run()
    }
  }

  /// What is done to a program or to the cluster.
  private enum KafkaBlow: CaseIterable {
    case killMember, stopMember, brokerDown, errors, killEdge, downToOneMember
  }

  /// Clients send, kcat produces, blows fall; then what was acknowledged, what is in the log and what is stored are compared.
  private struct KafkaTorture {
    let members: Int
    let blows: [KafkaBlow]

    /// Blows that a cluster lives through; with members that join, the mock seldom lives much longer.
    private let rounds = 6
    private let clusters = TortureSize.isFull ? 10 : 1

    func run() async throws {
      let database = try await PostgresServer.shared()
      for cluster in 0..<clusters { try await tortureUntilWhole(database, seed: TortureSize.seed &+ UInt64(cluster)) }
    }

    private func tortureUntilWhole(_ database: PostgresServer, seed: UInt64) async throws {
      for attempt in 1... {
        let layout = try await KafkaLayout(into: database.database(), members: members)
        do {
          return try await torture(layout, database, SeededGenerator(seed: seed))
        } catch {
          // The mock has assertions that members which are killed make fail now and then. Whatever else goes wrong counts.
          try? await eventually("the mock has ended", within: .seconds(5)) { !layout.mock.isRunning }
          guard !layout.mock.isRunning, attempt < 6 else { throw error }
          print("kafka: the mock cluster itself has ended, so once more: \(error)")
        }
      }
    }

    private func torture(
      _ layout: KafkaLayout, _ database: PostgresServer, _ generator: SeededGenerator
    ) async throws {
      var random = generator
      let sending = layout.clients.map { clients in Task { try await clients.run(4) } }
      do {
        try await layout.start()
        for round in 0..<rounds {
          try await Task.sleep(for: .milliseconds(Int.random(in: 500..<2_500, using: &random)))
          let blow = blows[round % blows.count]
          try await strike(blow, layout, &random)
          try await layout.produceByKcat(100, round: round)
        }
      } catch {
        for task in sending { task.cancel() }
        throw error
      }
      for clients in layout.clients { clients.stop() }
      for task in sending { try await task.value }
      let acknowledged = layout.clients.flatMap(\.result.identities)
      try await layout.stopEdges()

      let log = try await layout.log()
      let identities = Set(log.map(\.identity))
      #expect(Set(acknowledged).isSubset(of: identities), "acknowledged, and kcat does not find it in the log")
      #expect(log.count { $0.identity.hasPrefix("kafka/") } >= layout.producedByKcat)
      let query = "SELECT identity FROM messages ORDER BY id"
      try await eventually("all of the log is stored", within: .seconds(120)) {
        identities.isSubset(of: try await database.sql(query, uri: layout.uri))
      }
      try await layout.stopMembers()
      let stored = try await database.sql(query, uri: layout.uri)
      #expect(Set(stored) == identities, "stored and not in the log; seed \(TortureSize.seed)")
      #expect(stored.count == identities.count, "stored twice; seed \(TortureSize.seed)")
      let keys = Dictionary(log.map { ($0.identity, $0.key) }) { first, _ in first }
      expectOrder(stored, log: log.map(\.identity), keys: keys)
      print(
        "kafka: \(acknowledged.count) acknowledged, \(log.count) in the log, \(stored.count) stored;",
        "seed \(TortureSize.seed)")
    }

    private func strike(_ blow: KafkaBlow, _ layout: KafkaLayout, _ random: inout SeededGenerator) async throws {
      let members = layout.members
      let member = members[Int.random(in: members.indices, using: &random)]
      switch blow {
      case .killMember:
        member.kill(SIGKILL)
        try await member.end()
        try await member.start()
      case .stopMember:
        try await layout.end([member])
        try await member.start()
      case .brokerDown:
        let broker = Int.random(in: 1...3, using: &random)
        try await layout.mock.perform("down \(broker)")
        try await Task.sleep(for: .milliseconds(Int.random(in: 200..<2_000, using: &random)))
        try await layout.mock.perform("up \(broker)")
      case .errors:
        // Not the leader, too few replicas, timed out; unknown; rebalance, coordinator, timed out; rebalance.
        for errors in ["0 6 19 7 20", "1 6 -1 7 5", "8 27 16 14 7", "12 27"] {
          try await layout.mock.perform("errors \(errors)")
        }
      case .killEdge:
        let edge = layout.edges[Int.random(in: layout.edges.indices, using: &random)]
        edge.kill(SIGKILL)
        try await edge.end()
        try await edge.start()
      case .downToOneMember:
        // Down to one, and up again.
        try await layout.end(Array(members.dropFirst()))
        for other in members.dropFirst() { try await other.start() }
      }
    }

    /// The messages of a key were stored in the order in which the log has them first.
    private func expectOrder(_ stored: [String], log: [String], keys: [String: String]) {
      func byKey(_ identities: [String]) -> [String: [String]] {
        var seen: Set<String> = []
        return Dictionary(grouping: identities.filter { seen.insert($0).inserted }) { keys[$0] ?? "" }
      }
      let expected = byKey(log)
      for (key, identities) in byKey(stored) {
        #expect(identities == expected[key], "the order of key \(key); seed \(TortureSize.seed)")
      }
    }
  }
#endif
