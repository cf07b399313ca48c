import Foundation

/// What a process that was killed has left: files that are still open.
///
/// Each is cut after its last whole batch, and finished.
enum FileRecovery {
  /// Goes through the folders of all streams.
  static func recover(_ folder: String) throws(SystemError) {
    for name in try Folder.names(folder) where (try? StreamName(name)) != nil {
      try recover(stream: "\(folder)/\(name)")
    }
  }

  private static func recover(stream folder: String) throws(SystemError) {
    let names = try Folder.names(folder)
    for name in names.compactMap({ FileName($0, isOpen: true) }) {
      let descriptor = try Descriptor("\(folder)/\(name.open)", O_RDWR)
      let length = try descriptor.length()
      let whole = try wholeLength(descriptor, length, name, folder)
      if whole < length { try descriptor.truncate(to: whole) }
      try descriptor.synchronize()
      if whole == 0 {
        try Folder.remove(name.open, in: folder)
      } else {
        try Folder.rename(name.open, to: name.finished, in: folder)
      }
    }
    if names.contains(BatchMark.name) { try Folder.remove(BatchMark.name, in: folder) }
  }

  /// How much of a file is whole batches, as far as it can be known.
  private static func wholeLength(
    _ file: Descriptor, _ length: Int, _ name: FileName, _ folder: String
  ) throws(SystemError) -> Int {
    if name.isCompressed { return try Gzip.lengthOfWholeMembers(file) }
    var length = length
    if let batch = try BatchMark.read(for: name, in: folder), batch.contains(length) { length = batch.lowerBound }
    return try lengthOfWholeLines(file, length)
  }

  private static func lengthOfWholeLines(_ file: Descriptor, _ length: Int) throws(SystemError) -> Int {
    var end = length
    while end > 0 {
      let start = max(0, end - 1 << 16)
      if let index = try file.read(end - start, at: start).lastIndex(of: Lines.lineFeed) { return start + index + 1 }
      end = start
    }
    return 0
  }
}
