import AggregatorStorage
import Foundation

/// How dead letters look on standard output.
enum DeadLetterText {
  private struct Line: Encodable {
    let id: Int64
    let stream: String
    let identity: String
    let receivedAt: String
    let failedAt: String
    let attempts: Int
    let bytes: Int
    let error: String
  }

  /// One line of JSON, without the contents.
  static func json(_ letter: DeadLetter) throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    let line = Line(
      id: letter.id, stream: letter.stream.description, identity: letter.identity, receivedAt: time(letter.receivedAt),
      failedAt: time(letter.failedAt), attempts: letter.attempts, bytes: letter.size, error: letter.error)
    return String(decoding: try encoder.encode(line), as: UTF8.self)
  }

  /// A table with a head, without the contents.
  static func table(_ letters: [DeadLetter]) -> String {
    guard !letters.isEmpty else { return "There are no dead letters." }
    let rows =
      [["ID", "STREAM", "FAILED AT", "ATTEMPTS", "BYTES", "ERROR"]]
      + letters.map {
        ["\($0.id)", "\($0.stream)", time($0.failedAt), "\($0.attempts)", "\($0.size)", oneLine($0.error)]
      }
    let widths = rows[0].indices.dropLast().map { column in rows.map { $0[column].count }.max() ?? 0 }
    return rows.map { row in
      zip(row, widths).map { $0 + String(repeating: " ", count: $1 - $0.count) }.joined(separator: "  ") + "  "
        + (row.last ?? "")
    }.joined(separator: "\n")
  }

  /// All of a letter, its contents last.
  static func full(_ letter: DeadLetter) -> String {
    """
    id:          \(letter.id)
    stream:      \(letter.stream)
    identity:    \(letter.identity)
    received at: \(time(letter.receivedAt))
    failed at:   \(time(letter.failedAt))
    attempts:    \(letter.attempts)
    bytes:       \(letter.size)
    error:       \(oneLine(letter.error))

    \(letter.body ?? "")
    """
  }

  /// What a sink says may have lines, and what a terminal would obey.
  private static func oneLine(_ text: String) -> String {
    String(text.unicodeScalars.map { $0.properties.generalCategory == .control ? " " : Character($0) })
  }

  private static func time(_ microseconds: Int64) -> String {
    Date(timeIntervalSince1970: Double(microseconds) / 1_000_000)
      .formatted(.iso8601.year().month().day().time(includingFractionalSeconds: true).timeZone(separator: .omitted))
  }
}
