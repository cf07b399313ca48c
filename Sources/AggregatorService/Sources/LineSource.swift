import AggregatorStorage
import Batching

/// Sends the lines of an input to an aggregator, and tells of those that are no JSON.
struct LineSource {
  let input: StandardInput
  let longestLine: Int
  let rules: MessageRules
  let send: ([Message]) async throws -> Void
  let report: (String) -> Void

  /// Malformed lines that are reported one by one; the others are only counted.
  static let reportedLines = 20

  private(set) var malformed = 0
  private(set) var line = 0

  init(
    input: StandardInput, options: ProgramOptions, report: @escaping (String) -> Void,
    send: @escaping ([Message]) async throws -> Void
  ) {
    self.input = input
    longestLine = options.longestMessage
    rules = MessageRules(identityField: options.identityField)
    self.report = report
    self.send = send
  }

  /// Reads to the end of the input, or until it is stopped.
  ///
  /// A line that is not whole when it is stopped is left out: its beginning may be a message too, but not the one that was
  /// meant.
  mutating func run() async throws {
    var splitter = LineSplitter(longestLine: longestLine)
    while true {
      switch try await input.next() {
      case .bytes(let bytes): try await take(splitter.add(bytes[...]))
      case .end: return try await take(splitter.finish())
      case .stopped: return
      }
    }
  }

  private mutating func take(_ pieces: [LineSplitter.Piece]) async throws {
    for piece in pieces {
      switch piece {
      case .lines(let lines): try await take(lines)
      case .tooLong:
        line += 1
        complainOfLength()
      }
    }
  }

  private mutating func take(_ lines: [UInt8]) async throws {
    // As a rule all are well-formed, and are read in one go.
    if let messages = try? Message.all(in: lines, format: .newlineDelimited, rules: rules),
      messages.allSatisfy(isShortEnough)
    {
      line += lines.count { $0 == 0x0A } + (lines.last == 0x0A ? 0 : 1)
      if !messages.isEmpty { try await send(messages) }
      return
    }
    var messages: [Message] = []
    var rest = lines[...]
    while !rest.isEmpty {
      let end = rest.firstIndex(of: 0x0A).map { $0 + 1 } ?? rest.endIndex
      line += 1
      do throws(MessageSyntaxError) {
        let found = try Message.all(in: rest[..<end], format: .newlineDelimited, rules: rules)
        if found.allSatisfy(isShortEnough) { messages += found } else { complainOfLength() }
      } catch {
        complain("column \(error.column): \(error.reason)")
      }
      rest = rest[end...]
    }
    if !messages.isEmpty { try await send(messages) }
  }

  private func isShortEnough(_ message: Message) -> Bool { message.body.utf8.count <= longestLine }

  private mutating func complainOfLength() {
    complain("it is longer than \(longestLine) bytes; raise --max-message")
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
