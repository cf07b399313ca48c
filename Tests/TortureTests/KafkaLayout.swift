#if KAFKA
  import AggregatorTestSupport
  import Foundation
  import Synchronization

  /// Clients, two edges, a topic of six partitions on three brokers, and storing members.
  final class KafkaLayout: Sendable {
    /// A message in the log, as kcat finds it there.
    struct Record: Sendable {
      let key: String
      /// What it is stored by.
      let identity: String
    }

    let mock: KafkaMock
    let uri: String
    let edges: [RestartableProgram]
    let members: [RestartableProgram]
    let clients: [Clients]
    private let bootstrap: String
    private let byKcat = Atomic(0)

    /// Makes them; the members store into the database at `uri`.
    init(into uri: String, members count: Int) async throws {
      self.uri = uri
      mock = try KafkaMock(brokers: 3, topics: ["events:6"])
      let bootstrap = try await mock.bootstrap()
      self.bootstrap = bootstrap
      // As a network has it: without, the leader of the group may be faster than the others, which the mock cannot bear.
      for broker in 1...3 { try await mock.perform("delay \(broker) 50") }
      // One request at a time, because the mock does not look at sequence numbers: with several, one that is answered with an error
      // and one behind it that is taken, an acknowledged message was once missing (docs/kafka.md has what we believe of that).
      let parameters = "reconnect.backoff.max.ms=500&max.in.flight.requests.per.connection=1"
      edges = try (0..<2).map { _ in
        try RestartableProgram([
          "--to", "kafka://\(bootstrap)/events?\(parameters)", "--key-field", "client", "--store-timeout", "30s",
        ])
      }
      members = try (0..<count).map { _ in
        let session = "session.timeout.ms=3000&heartbeat.interval.ms=200&reconnect.backoff.max.ms=500"
        return try RestartableProgram(["--to", uri], from: "kafka://\(bootstrap)/events?group=storing&\(session)")
      }
      clients = edges.enumerated().map { Clients(port: $1.port, prefix: "edge\($0)-") }
    }

    /// Edges first, then members one after the other while messages flow.
    func start() async throws {
      for edge in edges { try await edge.start() }
      for member in members {
        let already = clients.map(\.result.identities.count)
        try await member.start()
        try await eventually("messages flow", within: .seconds(60)) {
          zip(clients, already).allSatisfy { $0.result.identities.count > $1 + 10 }
        }
      }
    }

    /// Ends the edges as one should, with all that they have accepted in the log.
    func stopEdges() async throws {
      try await end(edges)
    }

    /// Ends the members as one should.
    func stopMembers() async throws {
      try await end(members)
    }

    /// Ends programs by SIGTERM, which they survive in order.
    ///
    /// But for a bug of librdkafka 2.0.2: a member that ends between its election as leader and its sharing out aborts when it
    /// frees its client. It has stored, committed and left by then.
    func end(_ programs: [RestartableProgram]) async throws {
      for program in programs { program.kill(SIGTERM) }
      for program in programs {
        let status = try await program.end()
        guard status == 0 || program.errors.contains("rd_kafka_sticky_assignor_state_destroy: Assertion") else {
          throw CommandFailure(description: "ended with \(status): \(program.errors)")
        }
      }
    }

    // MARK: kcat, an independent client at both ends

    /// Messages that kcat was told are in the log.
    var producedByKcat: Int { byKcat.load(ordering: .relaxed) }

    /// Produces messages with keys and without identities.
    func produceByKcat(_ count: Int, round: Int) async throws {
      let lines = (0..<count).map { "kcat-\($0 % 10)\t{\"round\":\(round),\"n\":\($0)}\n" }.joined()
      try await command(
        "/usr/bin/kcat",
        ["-b", bootstrap, "-t", "events", "-P", "-K", "\t", "-X", "enable.idempotence=true", "-X", "max.in.flight=1"],
        input: lines)
      byKcat.add(count, ordering: .relaxed)
    }

    /// All that is in the topic, by partition in order.
    func log() async throws -> [Record] {
      for api in [0, 1, 8, 12] { try await mock.perform("well \(api)") }
      let output = try await command(
        "/usr/bin/kcat",
        ["-b", bootstrap, "-t", "events", "-C", "-e", "-q", "-o", "beginning", "-f", "%p\t%o\t%k\t%h\n"])
      return output.split(separator: "\n").map { line in
        let fields = line.split(separator: "\t", omittingEmptySubsequences: false).map(String.init)
        let name = "Idempotency-Key="
        let header = fields[3].split(separator: ",").first { $0.hasPrefix(name) }
        return Record(
          key: fields[2],
          identity: header.map { String($0.dropFirst(name.count)) } ?? "kafka/events/\(fields[0])/\(fields[1])")
      }
    }
  }
#endif
