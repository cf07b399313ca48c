import AggregatorStorage
import AggregatorTestSupport
import Foundation
import Synchronization

extension SinkFixture {
  static let standardOutput = SinkFixture(name: "standard output", keepsStreamsApart: false, canFail: false) {
    StandardOutputPlace()
  }
}

private final class StandardOutputPlace: SinkPlace {
  private let reader = PipeReader()

  func open() async throws -> any Sink { StandardOutputSink(descriptor: reader.writeEnd) }

  func stored(_ stream: StreamName) async throws -> [String] { try await reader.lines() }

  func obstruct(_ stream: StreamName) async throws {}

  func clear(_ stream: StreamName) async throws {}

  func takeAway() async throws { try await reader.goAway() }

  func end() async throws { try await reader.end() }
}

/// A pipe, and who reads it.
final class PipeReader: Sendable {
  let writeEnd: Int32
  private let readEnd: Int32
  private let received = Mutex<(bytes: [UInt8], isGone: Bool)>(([], false))
  private let marks = Atomic(0)

  init() {
    var ends: [Int32] = [0, 0]
    _ = pipe(&ends)
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    (readEnd, writeEnd) = (ends[0], ends[1])
    Thread.detachNewThread { [self] in
      var buffer = [UInt8](repeating: 0, count: 1 << 16)
      while true {
        let count = read(readEnd, &buffer, buffer.count)
        guard count > 0 else { return }
        let goesOn = received.withLock { state in
          state.bytes += buffer[..<count]
          return !state.bytes.ends(with: Array("gone\n".utf8))
        }
        if !goesOn { break }
      }
      close(readEnd)
      received.withLock { $0.isGone = true }
    }
  }

  /// The lines that were written so far.
  ///
  /// A line of our own behind them tells that all has been read.
  func lines() async throws -> [String] {
    let mark = "mark \(marks.add(1, ordering: .relaxed).newValue)"
    try send(mark)
    var lines: [String] = []
    try await eventually("the pipe is read") {
      lines = received.withLock { String(decoding: $0.bytes, as: UTF8.self) }.split(
        separator: "\n", omittingEmptySubsequences: false
      ).dropLast().map(String.init)
      return lines.last == mark
    }
    return lines.filter { !$0.hasPrefix("mark ") }
  }

  /// Closes the end that is read.
  func goAway() async throws {
    if received.withLock({ $0.isGone }) { return }
    try send("gone")
    try await eventually("the reader is gone") { received.withLock { $0.isGone } }
  }

  /// Closes both ends; nothing else may be called then.
  func end() async throws {
    try await goAway()
    close(writeEnd)
  }

  private func send(_ line: String) throws {
    let bytes = Array("\(line)\n".utf8)
    guard write(writeEnd, bytes, bytes.count) == bytes.count else { throw NotInTime(description: "the pipe is full") }
  }
}

extension [UInt8] {
  fileprivate func ends(with other: [UInt8]) -> Bool { suffix(other.count).elementsEqual(other) }
}
