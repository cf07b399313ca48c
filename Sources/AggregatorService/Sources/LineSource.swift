import Batching

/// Sends the lines of an input to an aggregator, and tells of those that are no JSON.
struct LineSource {
  let input: StandardInput
  let longestLine: Int
  let send: ([Message]) async throws -> Void
  let report: (String) -> Void

  /// Malformed lines that are reported one by one; the others are only counted.
  static let reportedLines = 20

  private(set) var malformed = 0
  private(set) var line = 0

  init(
    input: StandardInput, longestLine: Int, report: @escaping (String) -> Void,
    send: @escaping ([Message]) async throws -> Void
  ) {
    self.input = input
    self.longestLine = longestLine
    self.report = report
    self.send = send
  }

  /// Reads to the end of the input, or until it is stopped.
  mutating func run() async throws {
    var splitter = LineSplitter(longestLine: longestLine)
    while true {
      let bytes = try await input.next()
      for piece in bytes.isEmpty ? splitter.finish() : splitter.add(bytes[...]) {
        switch piece {
        case .lines(let lines): try await take(lines)
        case .tooLong:
          line += 1
          complain("it is longer than \(longestLine) bytes; raise --max-body")
        }
      }
      if bytes.isEmpty { return }
    }
  }

  private mutating func take(_ lines: [UInt8]) async throws {
    // As a rule all are well-formed, and are read in one go.
    if let rows = try? Message.all(in: lines, format: .newlineDelimited) {
      line += lines.count { $0 == 0x0A } + (lines.last == 0x0A ? 0 : 1)
      if !rows.isEmpty { try await send(rows) }
      return
    }
    var rows: [Message] = []
    var rest = lines[...]
    while !rest.isEmpty {
      let end = rest.firstIndex(of: 0x0A).map { $0 + 1 } ?? rest.endIndex
      line += 1
      do throws(MessageSyntaxError) {
        rows += try Message.all(in: rest[..<end], format: .newlineDelimited)
      } catch {
        complain("column \(error.column): \(error.reason)")
      }
      rest = rest[end...]
    }
    if !rows.isEmpty { try await send(rows) }
  }

  private mutating func complain(_ reason: String) {
    malformed += 1
    if malformed <= Self.reportedLines {
      report("line \(line), \(reason); the line was left out")
    } else if malformed == Self.reportedLines + 1 {
      report("more malformed lines are only counted")
    }
  }
}
