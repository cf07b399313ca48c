import Foundation

/// The program itself, on a database of its own in a temporary folder.
final class Server {
  let port: UInt16
  private let process = Process()
  private let errors = Pipe()
  private let folder: URL
  private var database: String { folder.appending(path: "messages.db").path() }

  init(program: String, options: [String]) throws {
    folder = URL(filePath: NSTemporaryDirectory()).appending(path: "aggregator-load-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    let database = folder.appending(path: "messages.db").path()
    process.executableURL = URL(filePath: program)
    process.arguments = ["--from", "http://127.0.0.1:0", "--to", "sqlite:\(database)"] + options
    process.standardOutput = FileHandle.nullDevice
    process.standardError = errors
    try process.run()
    var said = ""
    while true {
      let more = errors.fileHandleForReading.availableData
      guard !more.isEmpty else { throw LoadError(description: "the program did not start: \(said)") }
      said += String(decoding: more, as: UTF8.self)
      if let match = said.firstMatch(of: /http:\/\/127\.0\.0\.1:(\d+)\//), let port = UInt16(match.1) {
        self.port = port
        return
      }
    }
  }

  deinit {
    if process.isRunning { process.terminate() }
    try? FileManager.default.removeItem(at: folder)
  }

  /// Stops it in an orderly way.
  func stop() throws {
    process.terminate()
    process.waitUntilExit()
    guard process.terminationStatus == 0 else {
      throw LoadError(description: "the program ended with \(process.terminationStatus)")
    }
  }

  /// Looks, when it has stopped, whether it has stored each of so many messages exactly once.
  func expect(_ count: Int) throws {
    let found = try Self.output(of: ["sqlite3", database, Request.audit])
    guard found == Request.expectedAudit(count) else {
      throw LoadError(description: "the database has \(found), expected: \(Request.expectedAudit(count))")
    }
  }

  /// The kind of the file system on which the databases are.
  static func fileSystem() -> String {
    (try? output(of: ["stat", "--file-system", "--format=%T", NSTemporaryDirectory()])) ?? "unknown"
  }

  private static func output(of command: [String]) throws -> String {
    let process = Process()
    let pipe = Pipe()
    process.executableURL = URL(filePath: "/usr/bin/env")
    process.arguments = command
    process.standardOutput = pipe
    try process.run()
    let text = String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    process.waitUntilExit()
    guard process.terminationStatus == 0 else { throw LoadError(description: "\(command[0]) failed") }
    return text.trimmingCharacters(in: .whitespacesAndNewlines)
  }
}
