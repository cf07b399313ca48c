import Foundation

/// Notes in a small file, `.batch`, from where to where the batch reaches that is being written next to it.
///
/// NDJSON has no sign for the end of a batch. With this, a process that is killed half-way leaves nothing of the batch: the
/// next start finds the file shorter than noted, and cuts it where the batch began. The note is not synchronised, which
/// would double what a batch costs; so after a power failure it may be of an earlier batch, and whole lines of a batch that
/// nobody was told was stored may stay.
struct BatchMark {
  static let name = ".batch"
  /// In one page, so that no reader sees half a note.
  private static let length = 128

  private let descriptor: Descriptor
  private let file: FileName

  /// Makes the note for the batches of a file.
  init(for file: FileName, in folder: String) throws(SystemError) {
    self.file = file
    descriptor = try Descriptor("\(folder)/\(Self.name)", O_WRONLY | O_CREAT | O_TRUNC)
  }

  /// Notes a batch that is about to be written.
  func note(_ range: Range<Int>) throws(SystemError) {
    let text = "\(file.open) \(range.lowerBound) \(range.upperBound) "
    try descriptor.write(Array((text + String(repeating: " ", count: Self.length - text.utf8.count)).utf8), at: 0)
  }

  /// Reads where the last batch of a file reaches; `nil` where nothing is noted.
  static func read(for file: FileName, in folder: String) throws(SystemError) -> Range<Int>? {
    guard let descriptor = try? Descriptor("\(folder)/\(name)", O_RDONLY) else { return nil }
    let words = String(decoding: try descriptor.read(length, at: 0), as: UTF8.self).split(separator: " ")
    guard words.count == 3, words[0] == file.open, let start = Int(words[1]), let end = Int(words[2]), start <= end
    else { return nil }
    return start..<end
  }
}
