import AggregatorStorage
import Dispatch
import Foundation

/// Reads a file descriptor in chunks, on a thread of its own, so that no thread of the cooperative pool blocks in `read`.
final class StandardInput: Sendable {
  /// What came next.
  enum Next: Sendable {
    case bytes([UInt8])
    /// There is no more.
    case end
    /// `stop()` was called; more might have come.
    case stopped
  }

  private let descriptor: Int32
  private let queue = DispatchQueue(label: "standard input")
  private let stopped: (read: Int32, write: Int32)

  private static let chunk = 1 << 20

  init(descriptor: Int32 = STDIN_FILENO) throws(ProgramError) {
    self.descriptor = descriptor
    var ends: [Int32] = [0, 0]
    guard pipe(&ends) == 0 else { throw ProgramError("cannot make a pipe: \(String(cString: strerror(errno)))") }
    stopped = (ends[0], ends[1])
  }

  deinit {
    close(stopped.read)
    close(stopped.write)
  }

  /// Waits for what comes next.
  func next() async throws(ProgramError) -> Next {
    let result: Result<Next, ProgramError> = await withCheckedContinuation { continuation in
      queue.async { continuation.resume(returning: self.read()) }
    }
    return try result.get()
  }

  /// Ends the reading, one that waits too.
  func stop() {
    var byte: UInt8 = 0
    _ = write(stopped.write, &byte, 1)
  }

  private func read() -> Result<Next, ProgramError> {
    while true {
      var waits = [
        pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0),
        pollfd(fd: stopped.read, events: Int16(POLLIN), revents: 0),
      ]
      if poll(&waits, 2, -1) < 0 {
        if errno == EINTR { continue }
        return .failure(ProgramError("cannot wait for standard input: \(String(cString: strerror(errno)))"))
      }
      if waits[1].revents != 0 { return .success(.stopped) }
      var failure: Int32 = 0
      let bytes = [UInt8](unsafeUninitializedCapacity: Self.chunk) { buffer, count in
        let result = Foundation.read(descriptor, buffer.baseAddress, buffer.count)
        if result < 0 { failure = errno }
        count = max(result, 0)
      }
      if failure == 0 { return .success(bytes.isEmpty ? .end : .bytes(bytes)) }
      if failure != EINTR, failure != EAGAIN {
        return .failure(ProgramError("cannot read standard input: \(String(cString: strerror(failure)))"))
      }
    }
  }
}
