#if NATS
  import AggregatorTestSupport
  import BatchingTesting
  import Foundation
  import Synchronization
  import Testing

  /// The whole way at full size: edges, a cluster of three JetStream servers, an ordered storing member for each of three streams,
  /// PostgreSQL; and kill -9 for all but the last.
  @Suite("Order through edges, log and members", .serialized, .timeLimit(.minutes(60)))
  struct LogOrderTests {
    @Test func `whoever is killed: nothing is missing, nothing is there twice, and the order by key holds`()
      async throws
    {
      let site = try await Site()
      for program in site.edges + site.members { try await program.start() }
      let clients = BulkClients(
        12, ports: site.edges.map(\.port), streams: Site.streams, quota: TortureSize.logMessages)
      let began = ContinuousClock.now
      let sending = Task { try await clients.run() }
      var kills = Kills()
      do {
        try await eventually("there is load", within: .seconds(60)) { clients.acknowledged > 0 }
        try await kills.run(site) { clients.acknowledged >= TortureSize.logMessages }
      } catch {
        sending.cancel()
        throw error
      }
      clients.stop()
      try await sending.value
      let sent = ContinuousClock.now - began
      let replicas = Replicas(site.cluster, stream: "EVENTS")
      try await replicas.unlessTheyDiffer {
        do {
          try await eventually("all is stored", within: .seconds(300)) {
            try await site.stored() >= clients.acknowledged
          }
        } catch {
          print("killed \(kills); seed \(TortureSize.seed)\n\(await site.account(of: clients))")
          throw error
        }
      }
      let took = ContinuousClock.now - began
      for program in site.edges + site.members {
        program.kill(SIGTERM)
        #expect(try await program.end() == 0, "\(program.errors)")
      }
      // Whatever the servers do: each message has an identity of its client's.
      for stream in Site.streams {
        let repeated = try await site.repeated(in: stream)
        #expect(repeated == [], "seed \(TortureSize.seed)")
      }
      try await replicas.unlessTheyDiffer {
        for stream in Site.streams {
          let counts = try await site.counts(in: stream)
          #expect(counts == clients.expected(in: stream), "seed \(TortureSize.seed)")
          let outOfOrder = try await site.outOfOrder(in: stream)
          #expect(outOfOrder == [], "seed \(TortureSize.seed)")
        }
      }
      print(
        "log: \(clients.acknowledged) messages, sent in \(sent), stored after \(took); killed \(kills); "
          + "seed \(TortureSize.seed)")
    }
  }

  /// What the servers of the log keep of a stream: the same at each place of it, or no member can store all of it in order.
  ///
  /// NATS before 2.11 does not see to that when servers are killed (docs/scaling.md, which says how to see it without this program).
  /// It is rare here, and nothing that a member could mend.
  private final class Replicas: Sendable {
    private let cluster: NATSCluster
    private let stream: String
    private let doDiffer = Mutex<Bool?>(nil)

    init(_ cluster: NATSCluster, stream: String) {
      self.cluster = cluster
      self.stream = stream
    }

    /// Runs checks; what they find is a known issue if the servers differ, and a failure otherwise.
    func unlessTheyDiffer(_ checks: () async throws -> Void) async throws {
      try await withKnownIssue("servers of NATS keep different messages at the same place", isIntermittent: true) {
        try await checks()
      } matching: { _ in
        self.doDiffer.withLock { known in
          let doDiffer = known ?? self.look()
          known = doDiffer
          return doDiffer
        }
      }
    }

    private func look() -> Bool {
      do {
        let places = try cluster.differences(in: stream)
        print("the servers differ at \(places.count) places of \(stream), the first ones \(places.prefix(20))")
        return !places.isEmpty
      } catch {
        print("what the servers keep cannot be read: \(error)")
        return false
      }
    }
  }

  /// All that runs.
  private struct Site {
    static let streams = ["part0", "part1", "part2"]

    let cluster: NATSCluster
    let database: PostgresServer
    let uri: String
    let edges: [RestartableProgram]
    let members: [RestartableProgram]
    /// What each member talks to the log through.
    let valves: [Valve]

    init() async throws {
      database = try await PostgresServer.shared()
      let uri = try await database.database()
      self.uri = uri
      // Members are to know of no way past the valve.
      let cluster = try await NATSCluster(3, more: ["--no_advertise"])
      self.cluster = cluster
      edges = try (0..<2).map { _ in
        try RestartableProgram(
          [
            "--to", "nats://\(cluster.hosts)/EVENTS?replicas=3&window=1", "--store-timeout", "20s", "--concurrency",
            "3",
          ])
      }
      let valves = try Self.streams.map { _ in try Valve(before: cluster.servers.map(\.port)) }
      self.valves = valves
      members = try zip(Self.streams, valves).map { stream, valve in
        let parameters = "stream=EVENTS&durable=\(stream)&subject=EVENTS.\(stream)&ordered=true&ack_wait=2s"
        return try RestartableProgram(["--to", uri], from: "nats://\(NATSCluster.hosts(valve.ports))?\(parameters)")
      }
    }

    /// What is missing, and what all that runs says of it.
    ///
    /// What cannot be asked is left out, lest it takes the place of the failure that it is asked for.
    func account(of clients: BulkClients) async -> String {
      let stored = try? await stored()
      var lines = [
        "\(clients.acknowledged) messages are acknowledged, \(stored.map { "\($0)" } ?? "nobody knows how many") are stored"
      ]
      for (index, stream) in Self.streams.enumerated() {
        if let missing = try? await missing(in: stream, of: clients) {
          lines.append("\(stream): acknowledged and not stored: \(missing)")
        }
        lines.append("its member wrote: \(members[index].errors.suffix(4000))")
      }
      for edge in edges { lines.append("an edge wrote: \(edge.errors.suffix(2000))") }
      for server in cluster.servers { lines.append("\(server.name): \(await server.account())") }
      return lines.joined(separator: "\n")
    }

    /// `KEY|NUMBER` of messages that are acknowledged and not stored, the first fifty.
    func missing(in stream: String, of clients: BulkClients) async throws -> [String] {
      let expected = clients.expected(in: stream).map { "('\($0.replacing("|", with: "', "))" }
      return try await database.sql(
        """
        SELECT key, number FROM (VALUES \(expected.joined(separator: ", "))) AS keys (key, count)
        CROSS JOIN LATERAL generate_series(0, count - 1) AS numbers (number)
        EXCEPT SELECT body->>'key', (body->>'number')::int FROM \(stream) ORDER BY 1, 2 LIMIT 50
        """, uri: uri)
    }

    /// `KEY|NUMBER` of messages that are stored more than once, the first fifty.
    func repeated(in stream: String) async throws -> [String] {
      try await database.sql(
        "SELECT body->>'key', body->>'number' FROM \(stream) GROUP BY 1, 2 HAVING count(*) > 1 LIMIT 50", uri: uri)
    }

    /// Rows that are there.
    func stored() async throws -> Int {
      var count = 0
      for stream in Self.streams {
        guard try await database.sql("SELECT to_regclass('\(stream)')", uri: uri) == [stream] else { continue }
        count += try await database.sql("SELECT count(*) FROM \(stream)", uri: uri).first.flatMap { Int($0) } ?? 0
      }
      return count
    }

    /// `KEY|COUNT` for each key, in order: what is there twice makes a count too large.
    func counts(in stream: String) async throws -> [String] {
      try await database.sql(
        "SELECT body->>'key', count(*) FROM \(stream) GROUP BY 1", uri: uri
      ).sorted()
    }

    /// Messages whose number does not follow on that of the message of the same key that was stored before it.
    func outOfOrder(in stream: String) async throws -> [String] {
      try await database.sql(
        """
        SELECT id, received_at, identity, key, number, before FROM (
          SELECT id, received_at, identity, key, number, lag(number, 1, -1) OVER (PARTITION BY key ORDER BY id) AS before
          FROM (
            SELECT id, received_at, identity, body->>'key' AS key, (body->>'number')::int AS number FROM \(stream)
          ) AS messages
        ) AS pairs WHERE number <> before + 1 ORDER BY id LIMIT 60
        """, uri: uri)
    }

    /// Whether a message is there; before the first is stored there is no table.
    func has(_ identity: String, in stream: String) async -> Bool {
      (try? await database.sql("SELECT 1 FROM \(stream) WHERE identity = '\(identity)'", uri: uri)) == ["1"]
    }
  }

  /// Kills, at random moments and in random order.
  private struct Kills: CustomStringConvertible {
    enum Kind: String, CaseIterable {
      case member, edge, server, leader
      case memberWithMessages = "member with messages in hand"
      case memberAfterCommit = "member between commit and acknowledgement"
      case connection = "connection with messages on their way"
    }

    private var counts: [Kind: Int] = [:]
    private var random = SeededGenerator(seed: TortureSize.seed)

    var description: String { Kind.allCases.map { "\($0.rawValue) \(counts[$0] ?? 0) times" }.joined(separator: ", ") }

    /// Each kind at least once, and then until there is enough.
    mutating func run(_ site: Site, isEnough: () -> Bool) async throws {
      repeat {
        for kind in Kind.allCases.shuffled(using: &random) {
          try await Task.sleep(
            for: .milliseconds(Int.random(in: 50..<(TortureSize.isFull ? 6_000 : 500), using: &random)))
          try await kill(kind, site)
          counts[kind, default: 0] += 1
        }
      } while !isEnough()
    }

    private mutating func kill(_ kind: Kind, _ site: Site) async throws {
      switch kind {
      case .member: try await restart(site.members[Int.random(in: 0..<3, using: &random)])
      case .edge: try await restart(site.edges[Int.random(in: 0..<2, using: &random)])
      case .server: try await restart(site.cluster.servers[Int.random(in: 0..<3, using: &random)])
      case .leader:
        var leader: NATSServer?
        try await eventually("the stream has a leader", within: .seconds(60)) {
          leader = try await site.cluster.leader(of: "EVENTS")
          return leader != nil
        }
        if let leader { try await restart(leader) }
      case .memberWithMessages: try await loseDelivery(Int.random(in: 0..<3, using: &random), site, kills: true)
      case .memberAfterCommit: try await killAfterCommit(Int.random(in: 0..<3, using: &random), site)
      case .connection: try await loseDelivery(Int.random(in: 0..<3, using: &random), site, kills: false)
      }
    }

    private func restart(_ program: RestartableProgram) async throws {
      program.kill(SIGKILL)
      try await program.end()
      try await program.start()
    }

    /// Waits until it has caught up: two of three that are down at once lose nothing, but nothing goes on.
    private func restart(_ server: NATSServer) async throws {
      try await server.kill()
      try await Task.sleep(for: .milliseconds(500))
      try server.start()
      try await eventually("\(server.name) has caught up", within: .seconds(120)) {
        try await Task.sleep(for: .milliseconds(50))
        return await server.isHealthy()
      }
    }

    /// Messages are the member's, as the log sees it, and it never stores them.
    private func loseDelivery(_ index: Int, _ site: Site, kills: Bool) async throws {
      let valve = site.valves[index]
      valve.arm(loses: true)
      try await eventually("a message is delivered", within: .seconds(120)) { valve.identity != nil }
      if kills {
        site.members[index].kill(SIGKILL)
        try await site.members[index].end()
      }
      valve.open()
      if kills { try await site.members[index].start() }
    }

    /// What a member has stored is in the database, what it says of that does not arrive, and then it is gone.
    private func killAfterCommit(_ index: Int, _ site: Site) async throws {
      let valve = site.valves[index]
      try await eventually("a message is delivered and stored", within: .seconds(240)) {
        valve.arm(loses: false)
        try await eventually("a message is delivered to the member", within: .seconds(120)) { valve.identity != nil }
        if try await isStored(valve.identity ?? "", in: Site.streams[index], site) { return true }
        // A member that waits for others beside it, which it cannot ask for now, does not store it.
        valve.open()
        return false
      }
      site.members[index].kill(SIGKILL)
      try await site.members[index].end()
      valve.open()
      try await site.members[index].start()
    }

    private func isStored(_ identity: String, in stream: String, _ site: Site) async throws -> Bool {
      let end = ContinuousClock.now + .seconds(5)
      while ContinuousClock.now < end {
        if await site.has(identity, in: stream) { return true }
        try await Task.sleep(for: .milliseconds(5))
      }
      return false
    }
  }
#endif
