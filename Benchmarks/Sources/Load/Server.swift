import Foundation
import LoadSupport

/// The program itself, as it runs by default but for its ports.
final class Server {
  let port: UInt16
  private let process = Process()
  private let folder: URL

  init(program: String, store: any Store, options: [String]) throws {
    folder = URL(filePath: NSTemporaryDirectory()).appending(path: "aggregator-load-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    // A file and no pipe, which would have to be read while it is loaded.
    let errors = folder.appending(path: "errors")
    try Data().write(to: errors)
    process.executableURL = URL(filePath: program)
    process.arguments =
      ["--from", "http://127.0.0.1:0", "--to", store.target, "--admin", "http://127.0.0.1:0"] + options
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = FileHandle.nullDevice
    process.standardError = try FileHandle(forWritingTo: errors)
    try process.run()
    var said = ""
    for _ in 0..<3000 {
      said = (try? String(contentsOf: errors, encoding: .utf8)) ?? ""
      if let match = said.firstMatch(of: /taking messages at http:\/\/127\.0\.0\.1:(\d+)\//), let port = UInt16(match.1)
      {
        self.port = port
        return
      }
      guard process.isRunning else { break }
      usleep(10_000)
    }
    throw LoadError(description: "the program did not start: \(said)")
  }

  deinit {
    if process.isRunning { process.terminate() }
    try? FileManager.default.removeItem(at: folder)
  }

  var identifier: Int32 { process.processIdentifier }

  /// Stops it in an orderly way.
  func stop() throws {
    process.terminate()
    process.waitUntilExit()
    guard process.terminationStatus == 0 else {
      let said = (try? String(contentsOf: folder.appending(path: "errors"), encoding: .utf8)) ?? ""
      throw LoadError(description: "the program ended with \(process.terminationStatus): \(said.suffix(2000))")
    }
  }
}
