import Foundation
import Synchronization

/// Standard error, for a person: lines, and on a terminal one line that changes.
final class Console: Sendable {
  private let isTerminal: Bool
  private let progressLength = Mutex(0)

  init(isTerminal: Bool = isatty(STDERR_FILENO) == 1) {
    self.isTerminal = isTerminal
  }

  /// Prints a line.
  func say(_ line: String) {
    progressLength.withLock { length in
      let wipe = length > 0 ? "\r" + String(repeating: " ", count: length) + "\r" : ""
      length = 0
      write(wipe + line + "\n")
    }
  }

  /// Shows how far it is, in place of what was shown before; only on a terminal.
  func progress(_ text: String) {
    guard isTerminal else { return }
    progressLength.withLock { length in
      let padding = String(repeating: " ", count: max(length - text.count, 0))
      length = text.count
      write("\r" + text + padding)
    }
  }

  private func write(_ text: String) {
    try? FileHandle.standardError.write(contentsOf: Data(text.utf8))
  }
}
