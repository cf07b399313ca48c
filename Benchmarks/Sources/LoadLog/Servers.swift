import Foundation
import LoadSupport

/// The servers of a log.
protocol LogServers {
  var processes: [Int32] { get }
  /// What an edge has behind `--to`.
  var target: [String] { get }
  /// What the members of a group, or of a durable consumer, have behind `--from`.
  func source(named name: String) -> String
  /// What each has on its disk, on average; `nil` where nothing is on one.
  func diskBytes() throws -> Double?
}

/// Servers of NATS with JetStream on loopback, one or a cluster, with files in a folder.
final class NATSServers: LogServers {
  private let programs: [Program]
  private let folders: [String]
  private let hosts: String

  init(_ count: Int, in folder: URL) throws {
    let ports = try (0..<count * 2).map { _ in try freePort() }
    let routes = ports[count...].map { "nats://127.0.0.1:\($0)" }
    hosts = ports[..<count].map { "127.0.0.1:\($0)" }.joined(separator: ",")
    let folders = (0..<count).map { folder.appending(path: "n\(count)-\($0)").path() }
    self.folders = folders
    programs = try (0..<count).map { index in
      var arguments = [
        "-a", "127.0.0.1", "-p", "\(ports[index])", "-n", "n\(index)", "-js", "-sd", folders[index],
      ]
      if count > 1 {
        arguments += ["--cluster_name", "load", "--cluster", routes[index], "--routes", routes.joined(separator: ",")]
      }
      return try Program("/usr/sbin/nats-server", arguments, in: folder)
    }
    for program in programs { try program.wait(for: /Server is ready/) }
  }

  var target: [String] { ["nats://\(hosts)/EVENTS?replicas=\(folders.count)"] }

  func source(named name: String) -> String { "nats://\(hosts)?stream=EVENTS&durable=\(name)" }

  func diskBytes() throws -> Double? {
    let lines = try output(of: ["du", "-sb"] + folders).split(separator: "\n")
    return lines.compactMap { $0.split(separator: "\t").first.flatMap { Double($0) } }.reduce(0, +)
      / Double(folders.count)
  }

  var processes: [Int32] { programs.map(\.process.processIdentifier) }
}

/// Librdkafka's mock cluster: Kafka's protocol over sockets, with all of it in memory and one replica of it.
final class KafkaServers: LogServers {
  private let process = Process()
  private let input = Pipe()
  private let brokers: String

  init(_ program: String, brokers: Int) throws {
    let output = Pipe()
    process.executableURL = URL(filePath: program)
    process.arguments = ["\(brokers)", "events:\(Self.partitions)"]
    process.standardInput = input
    process.standardOutput = output
    try process.run()
    var said = Data()
    while said.last != UInt8(ascii: "\n") {
      let more = output.fileHandleForReading.availableData
      guard !more.isEmpty else { throw LoadError(description: "\(program) has ended") }
      said += more
    }
    self.brokers = String(decoding: said.dropLast(), as: UTF8.self)
  }

  deinit {
    if process.isRunning { kill(process.processIdentifier, SIGKILL) }
  }

  /// A partition of the mock keeps 5 MiB.
  private static var partitions: Int { 12 }

  var processes: [Int32] { [process.processIdentifier] }

  // All messages have nearly the same bytes, so that compression would make nothing of them.
  var target: [String] { ["kafka://\(brokers)/events?compression.codec=none", "--key-field", "key"] }

  func source(named name: String) -> String { "kafka://\(brokers)/events?group=\(name)&identity=offset" }

  func diskBytes() -> Double? { nil }
}

/// A server of PostgreSQL of its own, which brings each commit to the disk.
final class PostgresServer {
  private let folder: URL
  private let port: Int
  private let binaries: String
  private let server: Program
  private var database = "postgres"

  init(in parent: URL) throws {
    folder = parent.appending(path: "postgres")
    port = try freePort()
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    binaries = try output(of: ["sh", "-c", "ls -d /usr/lib/postgresql/*/bin | sort -V | tail -n 1"])
    // The server refuses to run as root.
    var start = ["/usr/bin/env"]
    if getuid() == 0 {
      try output(of: ["chmod", "755", parent.path()])
      try output(of: ["chown", "postgres", folder.path()])
      start += ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
    }
    let data = folder.appending(path: "data").path()
    try output(
      of: Array(start.dropFirst()) + [
        "\(binaries)/initdb", "-A", "trust", "--no-sync", "-U", "postgres", "-E", "UTF8", "--locale=C", "-D", data,
      ])
    start += ["\(binaries)/postgres", "-D", data, "-p", "\(port)", "-c", "listen_addresses=127.0.0.1"]
    start += ["-c", "unix_socket_directories=\(folder.path())", "-c", "max_wal_size=4GB"]
    server = try Program(start[0], Array(start.dropFirst()), in: parent)
    try server.wait(for: /ready to accept connections/)
  }

  /// All that follows is about a new database.
  func begin() throws {
    let name = "load_\(UUID().uuidString.prefix(8).lowercased())"
    try sql("CREATE DATABASE \(name)")
    database = name
  }

  var uri: String { "postgres://postgres@127.0.0.1:\(port)/\(database)" }

  /// The first process of the server, whose children the others are.
  var processes: [Int32] { [server.process.processIdentifier] }

  @discardableResult
  func sql(_ statements: String) throws -> String {
    try output(
      of: ["\(binaries)/psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-f", "-", uri], input: statements)
  }

  /// Makes the table as the program makes it.
  func makeTable() throws {
    try sql(
      """
      CREATE TABLE messages (id BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, received_at TIMESTAMPTZ NOT NULL,
        body JSON NOT NULL, identity TEXT);
      CREATE UNIQUE INDEX ON messages (identity) WHERE identity IS NOT NULL;
      """)
  }

  /// Keeps the table locked until so many programs wait for it, lets them go, and waits until so many messages are there.
  ///
  /// The numbers of rows come from a sequence, which is cheap to look at.
  ///
  /// - Returns: The seconds that took.
  func time(writers: Int, messages: Int) throws -> Double {
    let text = try sql(
      """
      CREATE TEMP TABLE took (seconds FLOAT8);
      DO $$
      DECLARE began TIMESTAMPTZ;
      BEGIN
        LOCK TABLE messages IN EXCLUSIVE MODE;
        WHILE (
          SELECT count(DISTINCT application_name) FROM pg_stat_activity
          WHERE wait_event_type = 'Lock' AND datname = current_database()
        ) < \(writers) LOOP
          PERFORM pg_sleep(0.01);
          PERFORM pg_stat_clear_snapshot();
        END LOOP;
        COMMIT;
        began := clock_timestamp();
        WHILE (SELECT last_value FROM messages_id_seq) < \(messages) LOOP
          PERFORM pg_sleep(0.002);
        END LOOP;
        INSERT INTO took VALUES (extract(epoch FROM clock_timestamp() - began));
      END $$;
      SELECT seconds FROM took;
      """)
    guard let seconds = Double(text) else { throw LoadError(description: "PostgreSQL answered '\(text)'") }
    return seconds
  }
}
