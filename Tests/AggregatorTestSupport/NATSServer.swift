import Foundation
import Synchronization

/// A server of NATS with JetStream on loopback, which the test starts, kills and starts again.
package final class NATSServer: Sendable {
  package let name: String
  package let port: Int
  /// Where it can be asked how it is.
  package let monitoringPort: Int
  private let folder: TemporaryFolder
  private let arguments: [String]
  private let process = Mutex<Process?>(nil)

  package init(
    name: String = "n1", port: Int, monitoringPort: Int, folder: TemporaryFolder, more: [String] = []
  ) throws {
    self.name = name
    self.port = port
    self.monitoringPort = monitoringPort
    self.folder = folder
    arguments =
      [
        "-a", "127.0.0.1", "-p", "\(port)", "-m", "\(monitoringPort)", "-n", name, "-js", "-sd", folder.file(name),
        "-l",
        folder.file("\(name).log"),
      ] + more
    try start()
  }

  deinit {
    // Waiting would keep the test's thread.
    if let process = process.withLock({ $0 }), process.isRunning { Foundation.kill(process.processIdentifier, SIGKILL) }
  }

  package func start() throws {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/sbin/nats-server")
    process.arguments = arguments
    process.standardOutput = FileHandle.nullDevice
    process.standardError = FileHandle.nullDevice
    try process.run()
    self.process.withLock { $0 = process }
  }

  /// Ends it as a power failure does, and waits until it is gone.
  package func kill() async throws {
    guard let process = process.withLock({ $0.take() }) else { return }
    Foundation.kill(process.processIdentifier, SIGKILL)
    try await eventually("\(name) is gone") { !process.isRunning }
  }

  /// Whether it has all that it should have.
  package func isHealthy() async -> Bool {
    let answer = try? await ask("/healthz")
    return answer?.contains(#""ok""#) == true
  }

  /// The name of the server that leads a stream, as far as this one knows.
  package func leader(of stream: String) async throws -> String? {
    struct Answer: Decodable {
      struct Account: Decodable { var stream_detail: [Stream]? }
      struct Stream: Decodable {
        var name: String
        var cluster: Cluster?
      }
      struct Cluster: Decodable { var leader: String? }
      var account_details: [Account]?
    }
    let answer = try JSONDecoder().decode(Answer.self, from: Data(try await ask("/jsz?streams=true").utf8))
    return answer.account_details?.flatMap { $0.stream_detail ?? [] }.first { $0.name == stream }?.cluster?.leader
  }

  /// All that it says of streams and consumers, for who looks for what has gone wrong.
  package func account() async -> String {
    do {
      return try await ask("/jsz?consumers=true")
    } catch {
      return "\(name): \(error)"
    }
  }

  private func ask(_ path: String) async throws -> String {
    try await command("/usr/bin/curl", ["-s", "-S", "-m", "5", "http://127.0.0.1:\(monitoringPort)\(path)"])
  }

  package var log: String {
    (try? String(contentsOfFile: folder.file("\(name).log"), encoding: .utf8)) ?? ""
  }
}

/// Servers that belong together, or one alone.
package final class NATSCluster: Sendable {
  package let servers: [NATSServer]
  private let folder: TemporaryFolder

  package init(_ count: Int, more: [String] = []) async throws {
    let folder = try TemporaryFolder()
    let ports = try freePorts(count * 3)
    let routes = ports[count..<2 * count].map { "nats://127.0.0.1:\($0)" }
    servers = try (0..<count).map { index in
      let cluster = [
        "--cluster_name", "test", "--cluster", routes[index], "--routes", routes.joined(separator: ","),
      ]
      return try NATSServer(
        name: "n\(index + 1)", port: ports[index], monitoringPort: ports[2 * count + index], folder: folder,
        more: more + (count > 1 ? cluster : []))
    }
    self.folder = folder
  }

  /// Their addresses, with commas between them.
  package var hosts: String { Self.hosts(servers.map(\.port)) }

  /// Addresses on loopback, with commas between them.
  package static func hosts(_ ports: [Int]) -> String { ports.map { "127.0.0.1:\($0)" }.joined(separator: ",") }

  /// The server that leads a stream now.
  package func leader(of stream: String) async throws -> NATSServer? {
    for server in servers {
      if let name = try? await server.leader(of: stream), let leader = servers.first(where: { $0.name == name }) {
        return leader
      }
    }
    return nil
  }
}
