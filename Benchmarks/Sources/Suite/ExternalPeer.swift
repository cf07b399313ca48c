import Foundation

/// A peer that is written in another language: a process that measures once for each line it gets, and stays warm between.
final class ExternalPeer {
  private let process = Process()
  private let input = Pipe()
  private let output = Pipe()
  private var rest = Data()

  struct Died: Error, CustomStringConvertible {
    var description: String { "the peer ended before it answered" }
  }

  /// `nil` when it has not been built.
  init?(_ path: String) {
    guard FileManager.default.isExecutableFile(atPath: path) else { return nil }
    process.executableURL = URL(filePath: path)
    process.standardInput = input
    process.standardOutput = output
    guard (try? process.run()) != nil else { return nil }
  }

  deinit {
    try? input.fileHandleForWriting.close()
    process.waitUntilExit()
  }

  /// The seconds that it took for what the line says.
  func measure(_ line: String) throws -> Double {
    try input.fileHandleForWriting.write(contentsOf: Data((line + "\n").utf8))
    while true {
      if let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
        let answer = String(decoding: rest[rest.startIndex..<end], as: UTF8.self)
        rest = Data(rest[rest.index(after: end)...])
        guard let seconds = Double(answer) else { throw Died() }
        return seconds
      }
      let more = output.fileHandleForReading.availableData
      guard !more.isEmpty else { throw Died() }
      rest.append(more)
    }
  }
}
