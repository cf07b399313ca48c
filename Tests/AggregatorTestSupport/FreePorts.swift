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
