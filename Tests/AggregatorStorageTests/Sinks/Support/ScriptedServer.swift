import AggregatorTestSupport
import Foundation
import Synchronization

/// A server that gives the same bytes to each connection when a request has begun to come, and then closes it, or hangs.
final class ScriptedServer: Sendable {
  let port: Int
  private let listener: Int32
  private let count = Atomic(0)

  /// The requests that have begun to come.
  var requests: Int { count.load(ordering: .relaxed) }

  init(answer: String, thenHangs: Bool = false) throws {
    let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    self.listener = listener
    _ = fcntl(listener, F_SETFD, FD_CLOEXEC)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = inet_addr("127.0.0.1")
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let result = withUnsafeMutablePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
        bind(listener, address, length) == 0 && listen(listener, 16) == 0
          && getsockname(listener, address, &length) == 0
      }
    }
    guard result else { throw NotInTime(description: "cannot listen: \(String(cString: strerror(errno)))") }
    port = Int(in_port_t(bigEndian: address.sin_port))
    Thread.detachNewThread { [self] in
      var hanging: [Int32] = []
      while true {
        let connection = accept(listener, nil, nil)
        guard connection >= 0 else { break }
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        _ = recv(connection, &buffer, buffer.count, 0)
        count.add(1, ordering: .relaxed)
        _ = Array(answer.utf8).withUnsafeBytes { send(connection, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
        if thenHangs { hanging.append(connection) } else { Foundation.close(connection) }
      }
      for connection in hanging { Foundation.close(connection) }
      Foundation.close(listener)
    }
  }

  /// Takes no connections any more, and lets go of those that hang.
  func close() {
    shutdown(listener, Int32(SHUT_RDWR))
  }
}
