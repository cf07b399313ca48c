import AggregatorTestSupport
import Foundation
import Synchronization

/// The process `kafka-mock`, which ends with this object.
final class MockProcess: Sendable {
  private let process = Process()
  private let input = Pipe()
  private let output = Pipe()
  private let lines = Mutex((text: "", isOver: false))

  init(_ arguments: [String]) throws {
    // The test bundle lies beside it.
    let tests = URL(fileURLWithPath: CommandLine.arguments[0])
    process.executableURL = tests.deletingLastPathComponent().appendingPathComponent("kafka-mock")
    process.arguments = arguments
    process.standardInput = input
    process.standardOutput = output
    process.standardError = FileHandle.nullDevice
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

  func write(_ line: String) throws {
    try input.fileHandleForWriting.write(contentsOf: Data("\(line)\n".utf8))
  }

  /// Waits for its next line.
  func line() async throws -> String {
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

/// Another program, run to its end.
enum Command {
  struct Failed: Error, CustomStringConvertible {
    let description: String
  }

  /// Runs it; returns what it has written to standard output.
  static func run(_ name: String, _ arguments: [String], input: String = "") async throws -> String {
    let folder = try TemporaryFolder()
    try Data(input.utf8).write(to: URL(fileURLWithPath: folder.file("in")))
    for file in ["out", "errors"] { try Data().write(to: URL(fileURLWithPath: folder.file(file))) }
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = [name] + arguments
    process.standardInput = FileHandle(forReadingAtPath: folder.file("in"))
    process.standardOutput = FileHandle(forWritingAtPath: folder.file("out"))
    process.standardError = FileHandle(forWritingAtPath: folder.file("errors"))
    let status: Int32 = try await withCheckedThrowingContinuation { continuation in
      process.terminationHandler = { continuation.resume(returning: $0.terminationStatus) }
      do { try process.run() } catch { continuation.resume(throwing: error) }
    }
    let errors = try String(contentsOfFile: folder.file("errors"), encoding: .utf8)
    guard status == 0 else { throw Failed(description: "\(name) ended with \(status): \(errors)") }
    return try String(contentsOfFile: folder.file("out"), encoding: .utf8)
  }
}
