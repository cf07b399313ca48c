import AggregatorTestSupport
import Foundation

/// A socket to the program, for bytes that no client should send.
final class HostileConnection {
  private let descriptor: Int32

  /// `nil` when it is refused.
  init?(port: Int) {
    descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    guard descriptor >= 0 else { return nil }
    let result = withLoopback(port: port) { connect(descriptor, $0, $1) }
    // A program that does not take the bytes must not hold up the test.
    var patience = timeval(tv_sec: 5, tv_usec: 0)
    let size = socklen_t(MemoryLayout<timeval>.size)
    setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &patience, size)
    setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, size)
    guard result == 0 else { return nil }
  }

  deinit {
    if descriptor >= 0 { close(descriptor) }
  }

  /// Returns whether all was taken.
  @discardableResult
  func send(_ bytes: [UInt8]) -> Bool {
    var sent = 0
    while sent < bytes.count {
      let count = bytes.withUnsafeBytes {
        Foundation.send(descriptor, $0.baseAddress.map { $0 + sent }, $0.count - sent, Int32(MSG_NOSIGNAL))
      }
      guard count > 0 else { return false }
      sent += count
    }
    return true
  }

  @discardableResult
  func send(_ text: String) -> Bool { send(Array(text.utf8)) }

  /// Whether the program has closed it; what it has answered is thrown away.
  func isClosed() -> Bool {
    var buffer = [UInt8](repeating: 0, count: 4_096)
    while true {
      let count = recv(descriptor, &buffer, buffer.count, Int32(MSG_DONTWAIT))
      if count <= 0 { return count == 0 || (errno != EAGAIN && errno != EINTR) }
    }
  }

  /// The status of the answer, once it comes; 0 when the connection is closed without one.
  func status() -> Int {
    var received: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 4_096)
    while received.count < 12 {
      let count = recv(descriptor, &buffer, buffer.count, 0)
      guard count > 0 else { return 0 }
      received += buffer[..<count]
    }
    guard received.starts(with: "HTTP/1.1 ".utf8) else { return 0 }
    return Int(String(decoding: received[9..<12], as: UTF8.self)) ?? 0
  }
}

/// How many files, and so connections, the test may have open.
enum OpenFiles {
  /// Raises the limit if it has to; returns whether there may be so many and some more, here and in the program.
  static func allow(_ count: Int) -> Bool {
    var limit = rlimit()
    let wanted = rlim_t(count + 500)
    guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0, limit.rlim_max >= wanted else {
      return false
    }
    guard limit.rlim_cur < wanted else { return true }
    limit.rlim_cur = wanted
    return setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0
  }
}
