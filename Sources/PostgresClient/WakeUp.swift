#if canImport(Glibc)
  import Glibc
#else
  import Darwin
#endif

/// Ends a `poll` from another thread: a pipe with one byte in it.
final class WakeUp: Sendable {
  /// What to poll beside the socket.
  let readEnd: Int32
  private let writeEnd: Int32

  init() throws(PostgresError) {
    var ends: [Int32] = [-1, -1]
    guard pipe(&ends) == 0 else {
      throw PostgresError(description: "no pipe can be made: \(String(cString: strerror(errno)))", state: nil)
    }
    for end in ends {
      _ = fcntl(end, F_SETFL, O_NONBLOCK)
      _ = fcntl(end, F_SETFD, FD_CLOEXEC)
    }
    (readEnd, writeEnd) = (ends[0], ends[1])
  }

  deinit {
    close(readEnd)
    close(writeEnd)
  }

  /// Ends the `poll` that is going on, or the next one.
  ///
  /// A pipe that is full says the same.
  func signal() {
    var byte: UInt8 = 1
    _ = write(writeEnd, &byte, 1)
  }

  func clear() {
    var bytes = (UInt64(0), UInt64(0))
    while read(readEnd, &bytes, 16) > 0 {}
  }
}
