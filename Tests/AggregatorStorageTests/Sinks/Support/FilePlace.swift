import AggregatorStorage
import AggregatorTestSupport
import Foundation
import Testing

extension SinkFixture {
  static let file = SinkFixture(name: "files") { try FilePlace(compresses: false) }
  static let gzip = SinkFixture(name: "files, gzip") { try FilePlace(compresses: true) }
}

private final class FilePlace: SinkPlace {
  private let folder: TemporaryFolder
  private let compresses: Bool
  private var path: String { folder.file("streams") }

  init(compresses: Bool) throws {
    folder = try TemporaryFolder()
    self.compresses = compresses
  }

  // Small enough for several files in most tests.
  func open() async throws -> any Sink {
    try FileSink(folder: path, rotationSize: 10_000, compresses: compresses)
  }

  func stored(_ stream: StreamName) async throws -> [String] { try StoredFiles(path, stream).lines() }

  func obstruct(_ stream: StreamName) async throws {
    try Data().write(to: URL(fileURLWithPath: "\(path)/\(stream)"))
  }

  func clear(_ stream: StreamName) async throws {
    try FileManager.default.removeItem(atPath: "\(path)/\(stream)")
  }

  func takeAway() async throws {
    try FileManager.default.removeItem(atPath: path)
  }

  func end() async throws {}
}

/// The files of a stream, as an operator sees them.
struct StoredFiles {
  let path: String
  /// As they sort; hidden ones left out.
  let names: [String]

  init(_ folder: String, _ stream: StreamName = .messages) throws {
    path = "\(folder)/\(stream)"
    names =
      try FileManager.default.fileExists(atPath: path)
      ? FileManager.default.contentsOfDirectory(atPath: path).filter { !$0.hasPrefix(".") }.sorted() : []
  }

  /// What is in them, unpacked by the real zcat.
  func lines() throws -> [String] {
    try names.flatMap { try lines($0) }
  }

  func lines(_ name: String) throws -> [String] {
    let bytes =
      name.contains(".gz")
      ? try run("/bin/sh", "-c", "exec zcat < \"$0\"", "\(path)/\(name)")
      : try Data(contentsOf: URL(fileURLWithPath: "\(path)/\(name)"))
    guard !bytes.isEmpty else { return [] }
    try #require(bytes.last == 0x0A, "\(name) ends with a whole line")
    return String(decoding: bytes.dropLast(), as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: false)
      .map(String.init)
  }
}

struct CommandFailed: Error {
  var status: Int32
  var errors: String
}

/// Runs a program; returns what it writes.
@discardableResult
func run(_ path: String, _ arguments: String...) throws -> Data {
  let process = Process()
  process.executableURL = URL(fileURLWithPath: path)
  process.arguments = arguments
  // A file, for the program may write more than a pipe takes.
  let folder = try TemporaryFolder()
  for name in ["output", "errors"] { try Data().write(to: URL(fileURLWithPath: folder.file(name))) }
  process.standardOutput = try FileHandle(forWritingTo: URL(fileURLWithPath: folder.file("output")))
  process.standardError = try FileHandle(forWritingTo: URL(fileURLWithPath: folder.file("errors")))
  try process.run()
  process.waitUntilExit()
  guard process.terminationStatus == 0 else {
    throw CommandFailed(
      status: process.terminationStatus, errors: try String(contentsOfFile: folder.file("errors"), encoding: .utf8))
  }
  return try Data(contentsOf: URL(fileURLWithPath: folder.file("output")))
}
