import InMemoryLogging
import Logging

extension InMemoryLogHandler.Entry {
  /// The message, the error, and the metadata as one text.
  var text: String {
    let fields = metadata.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
    return (["\(message)", error.map { "\($0)" } ?? ""] + fields).joined(separator: " ")
  }

  /// Whether the word or number stands in the text by itself.
  func says(_ word: String) -> Bool {
    text.split { !$0.isLetter && !$0.isNumber }.contains { $0 == word }
  }
}
