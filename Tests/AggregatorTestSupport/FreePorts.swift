import Foundation

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

/// A port that somebody has listened on, and at which nobody answers as long as this lives.
///
/// The system would give it to the next server that asks for any.
package final class HeldPort: Sendable {
  private let descriptor: Int32

  package init(_ port: Int) throws {
    descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    var one: Int32 = 1
    setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &one, socklen_t(MemoryLayout<Int32>.size))
    let result = withLoopback(port: port) { bind(descriptor, $0, $1) }
    guard result == 0 else {
      let reason = String(cString: strerror(errno))
      close(descriptor)
      throw NotInTime(description: "port \(port) cannot be held: \(reason)")
    }
  }

  deinit {
    close(descriptor)
  }
}
