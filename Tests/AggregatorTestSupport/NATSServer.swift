import Foundation
import Synchronization

/// A server of NATS with JetStream on loopback, which the test starts, kills and starts again.
///
/// It is Debian's, or the one that the variable `NATS_SERVER` names.
package final class NATSServer: Sendable {
  private static let program = ProcessInfo.processInfo.environment["NATS_SERVER"] ?? "/usr/sbin/nats-server"

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
    process.executableURL = URL(fileURLWithPath: Self.program)
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

  /// What it keeps of a stream, by place: subject, headers and payload.
  ///
  /// It is read from the files, whoever leads the stream.
  fileprivate func messages(in stream: String) throws -> [UInt64: Data] {
    let directory = URL(fileURLWithPath: "\(folder.file(name))/jetstream/$G/streams/\(stream)/msgs")
    var messages: [UInt64: Data] = [:]
    for file in try FileManager.default.contentsOfDirectory(at: directory, includingPropertiesForKeys: nil)
    where file.pathExtension == "blk" {
      var rest = try Data(contentsOf: file)[...]
      // Length, place, time, and the length of the subject; behind the message is a sum of 8 bytes.
      while let length = rest.number(UInt32.self, at: 0).map({ Int($0 & 0x7FFF_FFFF) }), length >= 30,
        length <= rest.count
      {
        // The highest bits are those of a place that is passed over.
        if let place = rest.number(UInt64.self, at: 4), place >> 62 == 0 {
          messages[place] = rest.dropFirst(22).prefix(length - 30)
        }
        rest = rest.dropFirst(length)
      }
    }
    return messages
  }

  private func ask(_ path: String) async throws -> String {
    try await command("/usr/bin/curl", ["-s", "-S", "-m", "5", "http://127.0.0.1:\(monitoringPort)\(path)"])
  }

  package var log: String {
    (try? String(contentsOfFile: folder.file("\(name).log"), encoding: .utf8)) ?? ""
  }
}

extension Data {
  /// A number of which the lowest byte comes first.
  fileprivate func number<Number: FixedWidthInteger>(_ type: Number.Type, at offset: Int) -> Number? {
    let bytes = dropFirst(offset).prefix(Number.bitWidth / 8)
    guard bytes.count == Number.bitWidth / 8 else { return nil }
    return bytes.reversed().reduce(0) { $0 << 8 | Number($1) }
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

  /// The places of a stream at which its servers do not keep the same, up to the last that all have reached.
  package func differences(in stream: String) throws -> [UInt64] {
    let kept = try servers.map { try $0.messages(in: stream) }
    guard let end = kept.map({ $0.keys.max() ?? 0 }).min(), end > 0 else { return [] }
    return (1...end).filter { place in kept.contains { $0[place] != kept[0][place] } }
  }

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
