import Foundation

/// The file of a stream that is written to, batch by batch.
///
/// Its calls block.
final class OpenFile {
  let name: FileName
  /// The bytes in it that are on the disk, which is those of whole batches.
  private(set) var length = 0

  private let folder: String
  private let descriptor: Descriptor
  private let mark: BatchMark?
  /// There may be a part of a batch behind `length`.
  private var isTorn = false

  /// Makes the file, and puts its name on the disk.
  init(_ name: FileName, in folder: String) throws(SystemError) {
    self.name = name
    self.folder = folder
    // Where the end of a member is the end of the batch, no note is needed.
    mark = name.isCompressed ? nil : try BatchMark(for: name, in: folder)
    descriptor = try Descriptor("\(folder)/\(name.open)", O_WRONLY | O_CREAT | O_EXCL)
    do {
      try Folder.synchronize(folder)
    } catch {
      try? Folder.remove(name.open, in: folder)
      throw error
    }
  }

  /// Appends a batch; it is on the disk when this returns, and nothing of it is in the file when it throws.
  func append(_ bytes: [UInt8]) throws(SystemError) {
    if isTorn { try cut() }
    do throws(SystemError) {
      try mark?.note(length..<length + bytes.count)
      isTorn = true
      try descriptor.write(bytes, at: length)
      try descriptor.synchronize()
      isTorn = false
    } catch {
      // Where even that fails, the next write tries it again before all else.
      if isTorn { try? cut() }
      throw error
    }
    length += bytes.count
  }

  private func cut() throws(SystemError) {
    try descriptor.truncate(to: length)
    try descriptor.synchronize()
    isTorn = false
  }

  /// Whether somebody has deleted it.
  func isDeleted() throws(SystemError) -> Bool { try descriptor.isDeleted() }

  /// Gives it the name of a file that is whole; one without messages is taken away.
  func finish() throws(SystemError) {
    if isTorn { try cut() }
    if length == 0 {
      try Folder.remove(name.open, in: folder)
    } else {
      do throws(SystemError) {
        try Folder.rename(name.open, to: name.finished, in: folder)
      } catch {
        // Somebody has moved it.
        if error.code != ENOENT { throw error }
      }
    }
    if mark != nil { try Folder.remove(BatchMark.name, in: folder) }
  }
}
