import Foundation
import Synchronization

/// A server of NATS with JetStream on loopback, which the test starts, kills and starts again.
package final class NATSServer: Sendable {
  package let name: String
  package let port: Int
  private let folder: TemporaryFolder
  private let arguments: [String]
  private let process = Mutex<Process?>(nil)

  package init(name: String = "n1", port: Int, folder: TemporaryFolder, more: [String] = []) throws {
    self.name = name
    self.port = port
    self.folder = folder
    arguments =
      [
        "-a", "127.0.0.1", "-p", "\(port)", "-n", name, "-js", "-sd", folder.file(name), "-l",
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
    let ports = try freePorts(count * 2)
    let routes = ports.suffix(count).map { "nats://127.0.0.1:\($0)" }
    servers = try (0..<count).map { index in
      let cluster = [
        "--cluster_name", "test", "--cluster", routes[index], "--routes", routes.joined(separator: ","),
      ]
      return try NATSServer(
        name: "n\(index + 1)", port: ports[index], folder: folder, more: more + (count > 1 ? cluster : []))
    }
    self.folder = folder
  }

  /// Their addresses, with commas between them.
  package var hosts: String { servers.map { "127.0.0.1:\($0.port)" }.joined(separator: ",") }
}

/// Ports that nobody listens on now.
package func freePorts(_ count: Int) throws -> [Int] {
  var sockets: [Int32] = []
  defer { for socket in sockets { close(socket) } }
  return try (0..<count).map { _ in
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    sockets.append(descriptor)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = inet_addr("127.0.0.1")
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let result = withUnsafeMutablePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(descriptor, $0, length) == 0 ? getsockname(descriptor, $0, &length) : -1
      }
    }
    guard result == 0 else { throw NotInTime(description: "no free port: \(String(cString: strerror(errno)))") }
    return Int(in_port_t(bigEndian: address.sin_port))
  }
}
