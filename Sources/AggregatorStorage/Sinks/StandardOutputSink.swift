import Foundation

/// Writes messages to standard output, one a line, for the next program of a pipeline.
///
/// Stored means written: a pipe has taken it, and nothing says what the reader does with it. Streams and identities leave no
/// trace. A reader that does not read holds the writing up.
package final class StandardOutputSink: Sink {
  private let output: Output

  /// Writes to a file descriptor, which it does not close.
  package init(descriptor: Int32 = STDOUT_FILENO) {
    // Otherwise a reader that goes away ends the process.
    signal(SIGPIPE, SIG_IGN)
    output = Output(descriptor)
  }

  package func write(_ messages: [Message], to stream: StreamName) async throws {
    do {
      try await output.write(messages)
    } catch {
      throw Self.explain(error)
    }
  }

  private static func explain(_ error: SystemError) -> SinkError {
    error.code == EPIPE
      ? SinkError(description: "stdout: whoever read it is gone; nothing can be written any more", isRetryable: false)
      : SinkError(description: "stdout: \(error)", isRetryable: error.mayPass)
  }

  /// Finds out whether the reader is still there.
  package func check() async throws {
    do {
      try await output.check()
    } catch {
      throw Self.explain(error)
    }
  }

  /// What was written is out already.
  package func close() async throws {}
}

/// Writes batch by batch, on a queue of its own.
private actor Output {
  private let descriptor: Int32
  private let executor = QueueExecutor(label: "standard output")

  nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

  init(_ descriptor: Int32) {
    self.descriptor = descriptor
  }

  func write(_ messages: [Message]) throws(SystemError) {
    let bytes = Lines.encode(messages)
    let start = position()
    var written = 0
    while written < bytes.count {
      do throws(SystemError) {
        written += try SystemError.check("write to standard output") {
          bytes.withUnsafeBytes {
            Foundation.write(descriptor, $0.baseAddress.map { $0 + written }, $0.count - written)
          }
        }
      } catch {
        if error.code == EAGAIN {
          // Whoever shares it with us has made it non-blocking.
          _ = try poll(-1)
        } else {
          if let start { cut(to: start, after: written) }
          throw error
        }
      }
    }
  }

  /// Where the next byte goes in a file to which the shell has led it; `nil` for a pipe, or a terminal.
  private func position() -> off_t? {
    guard let length = length() else { return nil }
    let isAppending = fcntl(descriptor, F_GETFL) & O_APPEND != 0
    return isAppending ? length : lseek(descriptor, 0, SEEK_CUR)
  }

  private func length() -> off_t? {
    var status = stat()
    return fstat(descriptor, &status) == 0 && status.st_mode & S_IFMT == S_IFREG ? status.st_size : nil
  }

  /// Takes back what was written of a batch.
  ///
  /// Not where something is behind it: somebody else writes there too.
  private func cut(to start: off_t, after written: Int) {
    guard length() == start + off_t(written), ftruncate(descriptor, start) == 0 else { return }
    lseek(descriptor, start, SEEK_SET)
  }

  func check() throws(SystemError) {
    let found = try poll(0)
    if found & Int16(POLLERR) != 0 { throw SystemError(action: "write to standard output", code: EPIPE) }
    if found & Int16(POLLNVAL) != 0 { throw SystemError(action: "write to standard output", code: EBADF) }
  }

  /// What can be done with it, after waiting up to so many milliseconds; -1 waits without end.
  private func poll(_ time: Int32) throws(SystemError) -> Int16 {
    var wait = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
    try SystemError.check("wait for standard output") { Foundation.poll(&wait, 1, time) }
    return wait.revents
  }
}
