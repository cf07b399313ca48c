import Foundation

/// A connection on which a test says byte for byte what it wants.
package final class RawConnection: Sendable {
  private let descriptor: Int32

  package init(port: Int) throws {
    descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    let result = withLoopback(port: port) { connect(descriptor, $0, $1) }
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
