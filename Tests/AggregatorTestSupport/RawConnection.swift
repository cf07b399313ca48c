import Foundation

/// A connection on which a test says byte for byte what it wants.
package final class RawConnection: Sendable {
  private let descriptor: Int32

  package init(port: Int) throws {
    descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = in_port_t(port).bigEndian
    address.sin_addr.s_addr = inet_addr("127.0.0.1")
    let result = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
    guard result == 0 else { throw NotInTime(description: "cannot connect: \(String(cString: strerror(errno)))") }
  }

  deinit {
    close(descriptor)
  }

  package func send(_ text: String) {
    _ = Array(text.utf8).withUnsafeBytes {
      Foundation.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
    }
  }

  /// What has come until `condition` holds of it, or until the other side has closed.
  package func receive(until condition: (String) -> Bool) async throws -> String {
    var received = ""
    try await eventually("an answer; so far: \(received)") {
      var buffer = [UInt8](repeating: 0, count: 4_096)
      let count = recv(descriptor, &buffer, buffer.count, Int32(MSG_DONTWAIT))
      if count > 0 { received += String(decoding: buffer[..<count], as: UTF8.self) }
      return count == 0 || condition(received)
    }
    return received
  }
}
