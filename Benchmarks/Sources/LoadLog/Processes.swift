import Foundation
import LoadSupport

/// A program that is started for a measurement, and ends with this object.
final class Program {
  let process = Process()
  private let errors: URL

  /// Starts it; what it says goes into a file in `folder`.
  init(_ path: String, _ arguments: [String], in folder: URL) throws {
    errors = folder.appending(path: "said-\(UUID().uuidString)")
    try Data().write(to: errors)
    process.executableURL = URL(filePath: path)
    process.arguments = arguments
    process.environment = ProcessInfo.processInfo.environment.merging(["AGGREGATOR_ADMIN": "none"]) { $1 }
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = FileHandle.nullDevice
    process.standardError = try FileHandle(forWritingTo: errors)
    try process.run()
  }

  deinit {
    if process.isRunning { kill(process.processIdentifier, SIGKILL) }
  }

  var said: String { String(decoding: (try? Data(contentsOf: errors)) ?? Data(), as: UTF8.self) }

  /// Waits until it has said something that matches.
  func wait(for words: Regex<some Any>) throws {
    let end = ContinuousClock.now + .seconds(30)
    while try words.firstMatch(in: said) == nil {
      guard process.isRunning, ContinuousClock.now < end else {
        throw LoadError(description: "a program did not start: \(said)")
      }
      usleep(5_000)
    }
  }

  /// Ends it in an orderly way.
  func stop() throws {
    process.terminate()
    try finish()
  }

  /// Waits for its end, which has to be a good one.
  func finish() throws {
    process.waitUntilExit()
    guard process.terminationStatus == 0 else {
      throw LoadError(description: "a program ended with \(process.terminationStatus): \(said)")
    }
  }
}

enum System {
  /// Seconds of processor time that processes and their children have taken so far.
  static func processorTime(of roots: [Int32]) -> Double {
    let processes = (try? FileManager.default.contentsOfDirectory(atPath: "/proc").compactMap(Int32.init)) ?? []
    var ticks = 0
    for process in processes {
      // "pid (name) state parent …", and a name may have spaces in it.
      guard let status = try? String(contentsOfFile: "/proc/\(process)/stat", encoding: .utf8),
        let rest = status.split(separator: ")").last?.split(separator: " "), rest.count > 14,
        let parent = Int32(rest[1]), roots.contains(process) || roots.contains(parent)
      else { continue }
      // Its own time, and that of its children which have ended.
      ticks += rest[11...14].compactMap { Int($0) }.reduce(0, +)
    }
    return Double(ticks) / Double(sysconf(Int32(_SC_CLK_TCK)))
  }

  /// Bytes that have gone over loopback so far, whoever sent them; what is not on loopback costs the same elsewhere.
  static var loopbackBytes: Double {
    let text = (try? String(contentsOfFile: "/proc/net/dev", encoding: .utf8)) ?? ""
    let line = text.split(separator: "\n").first { $0.contains("lo:") }
    return line?.split(separator: ":").last?.split(separator: " ").first.flatMap { Double($0) } ?? 0
  }

  /// The kind of the file system on which the databases are.
  static func fileSystem() -> String {
    (try? output(of: ["stat", "--file-system", "--format=%T", NSTemporaryDirectory()])) ?? "unknown"
  }
}
