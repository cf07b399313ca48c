import AggregatorTestSupport
import Foundation
import Synchronization

/// The program on one port, killed and started again as often as one likes.
final class RestartableProgram: Sendable {
  let port: Int
  private let arguments: [String]
  private let folder: TemporaryFolder
  private let process = Mutex<Process?>(nil)
  private let starts = Atomic(0)

  /// Makes one that is not started yet; `arguments` are all but `--from`, which is a port of its own if nothing else is said.
  init(_ arguments: [String], from source: String? = nil) throws {
    port = try Self.freePort()
    self.arguments = ["--from", source ?? "http://127.0.0.1:\(port)"] + arguments
    folder = try TemporaryFolder()
  }

  deinit {
    kill(SIGKILL)
  }

  /// A port that nobody listens on now, below those that clients get.
  private static func freePort() throws -> Int {
    for _ in 0..<100 {
      let port = Int.random(in: 15_000..<30_000)
      let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
      defer { close(descriptor) }
      let result = withLoopback(port: port) { bind(descriptor, $0, $1) }
      if result == 0 { return port }
    }
    throw NotInTime(description: "no port is free")
  }

  /// Starts it and waits until it listens.
  func start() async throws {
    let errors = URL(fileURLWithPath: folder.file("errors-\(starts.add(1, ordering: .relaxed).newValue)"))
    try Data().write(to: errors)
    let started = Process()
    let beside = URL(fileURLWithPath: CommandLine.arguments[0]).deletingLastPathComponent()
    started.executableURL =
      ProcessInfo.processInfo.environment["TORTURE_PROGRAM"].map { URL(fileURLWithPath: $0) }
      ?? beside.appendingPathComponent("aggregator")
    started.arguments = arguments
    started.environment = ProcessInfo.processInfo.environment.merging(
      ["SWIFT_BACKTRACE": "enable=no", "AGGREGATOR_ADMIN": "none"]) { $1 }
    started.standardInput = FileHandle.nullDevice
    started.standardOutput = FileHandle.nullDevice
    let writing = try FileHandle(forWritingTo: errors)
    started.standardError = writing
    try started.run()
    // One more for each start would be too many for Foundation after a thousand.
    try writing.close()
    process.withLock { $0 = started }
    try await eventually("the program listens") {
      guard started.isRunning else { throw NotInTime(description: "the program ended: \(Self.text(errors))") }
      return Self.text(errors).contains("taking messages ")
    }
  }

  private static func text(_ file: URL) -> String {
    String(decoding: (try? Data(contentsOf: file)) ?? Data(), as: UTF8.self)
  }

  /// What it wrote since its last start.
  var errors: String { Self.text(URL(fileURLWithPath: folder.file("errors-\(starts.load(ordering: .relaxed))"))) }

  /// Sends a signal, and does not wait.
  func kill(_ signal: Int32) {
    process.withLock { process in
      guard let process, process.isRunning else { return }
      Foundation.kill(process.processIdentifier, signal)
    }
  }

  /// Waits until it has ended.
  ///
  /// Returns its status; -1 when a signal ended it.
  @discardableResult
  func end(within limit: Duration = .seconds(60)) async throws -> Int32 {
    guard let process = process.withLock({ $0 }) else { return -1 }
    try await eventually("the program ends; it wrote: \(errors)", within: limit) { !process.isRunning }
    return process.terminationReason == .uncaughtSignal ? -1 : process.terminationStatus
  }

  /// Bytes of memory that are its own now; 0 when it does not run.
  var residentMemory: Int {
    guard let identifier = process.withLock({ $0?.processIdentifier }),
      let text = try? String(contentsOfFile: "/proc/\(identifier)/statm", encoding: .utf8)
    else { return 0 }
    let pages = text.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0
    return pages * Int(sysconf(Int32(_SC_PAGESIZE)))
  }
}
