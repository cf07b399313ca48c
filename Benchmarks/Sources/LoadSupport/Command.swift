import Foundation

/// What went wrong in a measurement, in words.
package struct LoadError: Error, CustomStringConvertible {
  package let description: String

  package init(description: String) {
    self.description = description
  }
}

/// Runs a command to its end; returns what it wrote.
@discardableResult
package func output(of command: [String], input: String = "") throws -> String {
  var bytes: [UInt8] = []
  try run(command, input: input) { bytes += $0 }
  return String(decoding: bytes, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
}

/// Runs a command to its end, and hands over what it writes as it comes.
package func run(_ command: [String], input: String = "", _ receive: (UnsafeRawBufferPointer) throws -> Void) throws {
  let process = Process()
  let (question, pipe, errors) = (Pipe(), Pipe(), Pipe())
  process.executableURL = URL(filePath: "/usr/bin/env")
  process.arguments = command
  process.currentDirectoryURL = URL(filePath: "/")
  process.standardInput = question
  process.standardOutput = pipe
  process.standardError = errors
  try process.run()
  try question.fileHandleForWriting.write(contentsOf: Data(input.utf8))
  try question.fileHandleForWriting.close()
  let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 16, alignment: 16)
  defer { buffer.deallocate() }
  while true {
    let count = read(pipe.fileHandleForReading.fileDescriptor, buffer.baseAddress, buffer.count)
    guard count > 0 else { break }
    try receive(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
  }
  // A few lines, which the pipe has room for.
  let said = String(decoding: errors.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
  process.waitUntilExit()
  guard process.terminationStatus == 0 else {
    throw LoadError(description: "\(command.joined(separator: " ")) ended with \(process.terminationStatus): \(said)")
  }
}
