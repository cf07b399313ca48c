import Foundation

/// The program itself, on a database of its own in a temporary folder.
final class Server {
  let port: UInt16
  private let process = Process()
  private let folder: URL
  private var database: String { folder.appending(path: "messages.db").path() }

  init(program: String, port: UInt16, options: [String]) throws {
    self.port = port
    folder = URL(filePath: NSTemporaryDirectory()).appending(path: "aggregator-load-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    process.executableURL = URL(filePath: program)
    process.arguments = ["--from", "http://127.0.0.1:\(port)", "--to", "sqlite:\(database)"] + options
    process.standardOutput = FileHandle.nullDevice
    process.standardError = FileHandle.nullDevice
    try process.run()
    for _ in 0..<200 {
      if let connection = try? Connection(port: port) {
        connection.close()
        return
      }
      Thread.sleep(forTimeInterval: 0.05)
    }
    throw LoadError(description: "the program did not listen within ten seconds")
  }

  var processID: Int32 { process.processIdentifier }

  /// Stops it in an orderly way, and counts what it has stored.
  func stop() throws -> Int {
    process.terminate()
    process.waitUntilExit()
    defer { try? FileManager.default.removeItem(at: folder) }
    guard process.terminationStatus == 0 else {
      throw LoadError(description: "the program ended with \(process.terminationStatus)")
    }
    let count = Process()
    let pipe = Pipe()
    count.executableURL = URL(filePath: "/usr/bin/env")
    count.arguments = ["sqlite3", database, "SELECT count(*) FROM messages"]
    count.standardOutput = pipe
    try count.run()
    let text = String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    count.waitUntilExit()
    guard let rows = Int(text.trimmingCharacters(in: .whitespacesAndNewlines)) else {
      throw LoadError(description: "sqlite3 could not count the rows")
    }
    return rows
  }
}
