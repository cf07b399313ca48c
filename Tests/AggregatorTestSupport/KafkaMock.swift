import Foundation
import Synchronization

/// A cluster of Kafka in memory: the process `kafka-mock` (`Sources/kafka-mock`), which ends with this object.
package final class KafkaMock: Sendable {
  private let process = Process()
  private let input = Pipe()
  private let output = Pipe()
  private let lines = Mutex((text: "", isOver: false))

  /// Starts brokers with topics, each `NAME:PARTITIONS`.
  package init(brokers: Int, topics: [String]) throws {
    // The test bundle lies beside it.
    let tests = URL(fileURLWithPath: CommandLine.arguments[0])
    process.executableURL = tests.deletingLastPathComponent().appendingPathComponent("kafka-mock")
    process.arguments = ["\(brokers)"] + topics
    process.standardInput = input
    process.standardOutput = output
    // Its end is not to be held up by a backtrace of C.
    process.environment = ProcessInfo.processInfo.environment.merging(["SWIFT_BACKTRACE": "enable=no"]) { $1 }
    // An assertion of the mock's that fails shall be seen.
    process.standardError = FileHandle.standardError
    output.fileHandleForReading.readabilityHandler = { [weak self] handle in
      let data = handle.availableData
      if data.isEmpty { handle.readabilityHandler = nil }
      self?.lines.withLock {
        $0.text += String(decoding: data, as: UTF8.self)
        $0.isOver = data.isEmpty
      }
    }
    try process.run()
  }

  deinit {
    output.fileHandleForReading.readabilityHandler = nil
    try? input.fileHandleForWriting.close()
    if process.isRunning { kill(process.processIdentifier, SIGKILL) }
  }

  /// Whether it is there; not after an assertion of the mock's own has failed.
  package var isRunning: Bool { process.isRunning }

  /// `bootstrap.servers`, which it says first; to be asked for once, before any command.
  package func bootstrap() async throws -> String {
    try await line()
  }

  /// Has it do something.
  ///
  /// - Throws: ``CommandFailure`` when it does not.
  package func perform(_ command: String) async throws {
    try input.fileHandleForWriting.write(contentsOf: Data("\(command)\n".utf8))
    let answer = try await line()
    guard answer == "ok" else { throw CommandFailure(description: "kafka-mock: \(command): \(answer)") }
  }

  /// Waits for its next line.
  private func line() async throws -> String {
    var found: String?
    try await eventually("a line of kafka-mock") {
      found = try lines.withLock { lines in
        guard let end = lines.text.firstIndex(of: "\n") else {
          if lines.isOver { throw NotInTime(description: "kafka-mock has ended") }
          return nil
        }
        defer { lines.text = String(lines.text[lines.text.index(after: end)...]) }
        return String(lines.text[..<end])
      }
      return found != nil
    }
    return found ?? ""
  }
}
