import Foundation
import GRDB
import Synchronization

/// The program as its users run it: a process of its own, which the test starts, signals and kills.
package final class ProgramProcess: Sendable {
  package struct Exit: Equatable {
    package var status: Int32
    package var bySignal = false

    package init(status: Int32, bySignal: Bool = false) {
      self.status = status
      self.bySignal = bySignal
    }
  }

  private let process: Process
  private let folder: TemporaryFolder
  private let input = Pipe()
  /// Apart, because the process keeps its handler, which must not keep this object: its end ends the process.
  private final class ExitBox: Sendable {
    let exit = Mutex<Exit?>(nil)
  }

  private let box = ExitBox()

  /// Starts it.
  package init(_ arguments: [String], environment: [String: String] = [:], input file: String? = nil) throws {
    process = Process()
    // The test bundle lies beside the program.
    let tests = URL(fileURLWithPath: CommandLine.arguments[0])
    process.executableURL = tests.deletingLastPathComponent().appendingPathComponent("aggregator")
    process.arguments = arguments
    // Each program that is watched wants a port of its own.
    process.environment = ProcessInfo.processInfo.environment.merging(["AGGREGATOR_ADMIN": "none"]) { $1 }
      .merging(environment) { $1 }
    if let file {
      process.standardInput = FileHandle(forReadingAtPath: file)
    } else {
      process.standardInput = input
    }
    // A file and no pipe: the end of a pipe is only seen when every process that was started meanwhile has let go of it,
    // and its last bytes may come after the end of the process.
    folder = try TemporaryFolder()
    process.standardError = try Self.file(folder.file("errors"))
    process.standardOutput = try Self.file(folder.file("output"))
    process.terminationHandler = { [box] process in
      box.exit.withLock {
        $0 = Exit(status: process.terminationStatus, bySignal: process.terminationReason == .uncaughtSignal)
      }
    }
    try process.run()
  }

  private static func file(_ path: String) throws -> FileHandle {
    let url = URL(fileURLWithPath: path)
    try Data().write(to: url)
    return try FileHandle(forWritingTo: url)
  }

  deinit {
    if process.isRunning { kill(process.processIdentifier, SIGKILL) }
  }

  /// What it has written to standard error.
  package var errors: String { written("errors") }

  /// What it has written to standard output.
  package var output: String { written("output") }

  private func written(_ file: String) -> String {
    String(decoding: FileManager.default.contents(atPath: folder.file(file)) ?? Data(), as: UTF8.self)
  }

  package func signal(_ number: Int32) {
    kill(process.processIdentifier, number)
  }

  package func write(_ text: String) throws {
    try input.fileHandleForWriting.write(contentsOf: Data(text.utf8))
  }

  /// Bytes that the test has written and the program has not read.
  package var unreadInput: Int {
    var count: Int32 = 0
    _ = ioctl(input.fileHandleForWriting.fileDescriptor, UInt(FIONREAD), &count)
    return Int(count)
  }

  /// Waits until it has ended.
  package func exit() async throws -> Exit {
    try await eventually("the program ends; it wrote: \(errors)") { box.exit.withLock { $0 != nil } }
    return box.exit.withLock { $0 } ?? Exit(status: -1)
  }

  /// Waits until it has said where it listens; returns the port.
  package func port() async throws -> Int {
    var found: Int?
    try await eventually("the program listens") {
      if let exit = box.exit.withLock({ $0 }) { throw NotInTime(description: "it ended with \(exit): \(errors)") }
      found = errors.firstMatch(of: /taking messages at http:\/\/[^\/]*:(\d+)\//).flatMap { Int($0.1) }
      return found != nil
    }
    return found ?? 0
  }
}

/// The messages in a database, as another program sees them.
package func storedMessages(_ path: String) throws -> [String] {
  try DatabaseQueue(path: path).read { try String.fetchAll($0, sql: "SELECT body FROM messages ORDER BY id") }
}
