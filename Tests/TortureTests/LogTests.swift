#if NATS
  import AggregatorTestSupport
  import BatchingTesting
  import Foundation
  import Testing

  /// Edges before a cluster of three JetStream servers, storing members behind it, and kill -9 for all of them.
  @Suite("Edges, log and members", .serialized, .timeLimit(.minutes(60)))
  struct LogTests {
    @Test func `members, edges and servers are killed: nothing acknowledged is missing, nothing is stored twice`()
      async throws
    {
      let database = try await PostgresServer.shared()
      let uri = try await database.database()
      let cluster = try await NATSCluster(3)
      let edges = try (0..<2).map { _ in
        try RestartableProgram(["--to", "nats://\(cluster.hosts)/EVENTS?replicas=3", "--store-timeout", "20s"])
      }
      let members = try (0..<3).map { _ in
        try RestartableProgram(
          ["--to", uri], from: "nats://\(cluster.hosts)?stream=EVENTS&durable=storing&ack_wait=5s")
      }
      for program in edges + members { try await program.start() }
      let clients = edges.enumerated().map { Clients(port: $1.port, prefix: "edge\($0)-") }
      let sending = clients.map { clients in Task { try await clients.run(4, streams: ["messages", "orders"]) } }
      do {
        try await eventually("there is load", within: .seconds(60)) {
          clients.allSatisfy { $0.result.identities.count > 10 }
        }
        var random = SeededGenerator(seed: TortureSize.seed)
        for round in 0..<(TortureSize.isFull ? 100 : 6) {
          try await Task.sleep(for: .milliseconds(Int.random(in: 50..<500, using: &random)))
          if round % 3 == 2 {
            let server = cluster.servers[Int.random(in: 0..<3, using: &random)]
            try await server.kill()
            try await Task.sleep(for: .milliseconds(500))
            try server.start()
          } else {
            let programs = round % 3 == 0 ? members : edges
            let program = programs[Int.random(in: programs.indices, using: &random)]
            program.kill(SIGKILL)
            try await program.end()
            try await program.start()
          }
        }
      } catch {
        for task in sending { task.cancel() }
        throw error
      }
      for clients in clients { clients.stop() }
      for task in sending { try await task.value }
      let acknowledged = clients.flatMap(\.result.identities)
      let query = "SELECT identity FROM messages UNION ALL SELECT identity FROM orders"
      try await eventually("all is stored", within: .seconds(120)) {
        Set(acknowledged).isSubset(of: try await database.sql(query, uri: uri))
      }
      for program in edges + members {
        program.kill(SIGTERM)
        #expect(try await program.end() == 0, "\(program.errors)")
      }
      let stored = try await database.sql(query, uri: uri)
      #expect(Set(stored).count == stored.count, "stored twice; seed \(TortureSize.seed)")
      print("log: \(acknowledged.count) messages acknowledged, \(stored.count) stored; seed \(TortureSize.seed)")
    }
  }
#endif
