import Foundation
package import Logging
import Synchronization

/// Writes log lines as JSON, one object a line: `time`, `level`, `label`, `message`, and where there are any `metadata` and
/// `error`.
///
/// Times are UTC with milliseconds (RFC 3339). All values of metadata are strings, dictionaries and arrays of them.
package struct JSONLogHandler: LogHandler {
  package var logLevel = Logger.Level.info
  package var metadata: Logger.Metadata = [:]
  package var metadataProvider: Logger.MetadataProvider?

  private let label: String
  private let write: @Sendable (String) -> Void

  /// Makes a handler for a logger of this label that hands each line, with its line feed, to `write`.
  package init(
    label: String, metadataProvider: Logger.MetadataProvider? = nil, write: @escaping @Sendable (String) -> Void
  ) {
    self.label = label
    self.metadataProvider = metadataProvider
    self.write = write
  }

  /// Makes a handler that writes to standard error; lines of several threads are never mixed.
  package static func standardError(label: String) -> JSONLogHandler {
    JSONLogHandler(label: label, write: StandardError.write)
  }

  package subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  package func log(event: LogEvent) {
    var all = metadata
    if let provided = metadataProvider?.get() { all.merge(provided) { $1 } }
    if let own = event.metadata { all.merge(own) { $1 } }
    let time = Date.now.formatted(Date.ISO8601FormatStyle(includingFractionalSeconds: true))
    var line = "{\"time\":\"\(time)\",\"level\":\"\(event.level.rawValue)\",\"label\":\(JSONText.quoted(label)),"
    line += "\"message\":\(JSONText.quoted(event.message.description))"
    if let error = event.error { line += ",\"error\":\(JSONText.quoted("\(error)"))" }
    if !all.isEmpty { line += ",\"metadata\":\(Self.json(.dictionary(all)))" }
    write(line + "}\n")
  }

  private static func json(_ value: Logger.MetadataValue) -> String {
    switch value {
    case .string(let text): JSONText.quoted(text)
    case .stringConvertible(let value): JSONText.quoted(value.description)
    case .array(let values): "[" + values.map(json).joined(separator: ",") + "]"
    case .dictionary(let values):
      "{"
        + values.sorted { $0.key < $1.key }.map { "\(JSONText.quoted($0.key)):\(json($0.value))" }
        .joined(separator: ",") + "}"
    }
  }
}

/// Standard error, a line at a time.
private enum StandardError {
  private static let lock = Mutex(())

  static func write(_ line: String) {
    lock.withLock { _ in
      // A reader that is gone must not end the program: what cannot be logged is lost.
      try? FileHandle.standardError.write(contentsOf: Data(line.utf8))
    }
  }
}

enum JSONText {
  /// A JSON string (RFC 8259, section 7), on one line.
  static func quoted(_ text: String) -> String {
    var result = "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": result += "\\\""
      case "\\": result += "\\\\"
      case "\n": result += "\\n"
      case "\r": result += "\\r"
      case "\t": result += "\\t"
      case _ where scalar.value < 0x20 || scalar.value == 0x7F:
        let digits = String(scalar.value, radix: 16)
        result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result + "\""
  }
}
