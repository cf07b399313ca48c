import Foundation

/// A program that a test needs has failed, or is not there.
package struct CommandFailure: Error, CustomStringConvertible {
  package let description: String

  package init(description: String) {
    self.description = description
  }
}

/// Runs a program to its end; returns what it has written.
///
/// - Throws: ``CommandFailure`` with what it has written, when it ends with another status than 0.
@discardableResult
package func command(_ path: String, _ arguments: [String], input text: String = "") async throws -> String {
  let folder = try TemporaryFolder()
  let process = Process()
  process.executableURL = URL(fileURLWithPath: path)
  process.arguments = arguments
  process.currentDirectoryURL = URL(fileURLWithPath: "/")
  // Files and no pipes: a server that it leaves behind would keep them open.
  for name in ["input", "output", "errors"] {
    try Data(name == "input" ? text.utf8 : "".utf8).write(to: URL(fileURLWithPath: folder.file(name)))
  }
  let input = try FileHandle(forReadingFrom: URL(fileURLWithPath: folder.file("input")))
  let output = try FileHandle(forWritingTo: URL(fileURLWithPath: folder.file("output")))
  let errors = try FileHandle(forWritingTo: URL(fileURLWithPath: folder.file("errors")))
  process.standardInput = input
  process.standardOutput = output
  process.standardError = errors
  let status = try await withCheckedThrowingContinuation { continuation in
    process.terminationHandler = { continuation.resume(returning: $0.terminationStatus) }
    do { try process.run() } catch { continuation.resume(throwing: error) }
  }
  // Not left to whoever lets go of them: with some 1,300 open files Foundation cannot start another program.
  for file in [input, output, errors] { try file.close() }
  let said = try String(contentsOfFile: folder.file("output"), encoding: .utf8)
  guard status == 0 else {
    let complaints = try String(contentsOfFile: folder.file("errors"), encoding: .utf8)
    throw CommandFailure(description: "\(path) ended with \(status): \(complaints)\(said)")
  }
  return said
}
