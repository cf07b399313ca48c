import Foundation

/// An open file or folder, which is closed when it is let go.
///
/// Its calls block.
final class Descriptor: Sendable {
  /// Where it was opened; it may have another name since.
  let path: String
  let number: Int32

  /// Opens it, with the `O_` flags of `open(2)`; other programs that are started do not get it.
  init(_ path: String, _ flags: Int32) throws(SystemError) {
    self.path = path
    number = try SystemError.check("open '\(path)'") { open(path, flags | O_CLOEXEC, 0o644) }
  }

  deinit {
    close(number)
  }

  /// Writes all of it; a part may be written when it throws.
  func write(_ bytes: [UInt8], at offset: Int) throws(SystemError) {
    var written = 0
    while written < bytes.count {
      written += try SystemError.check("write '\(path)'") {
        bytes.withUnsafeBytes {
          pwrite(number, $0.baseAddress.map { $0 + written }, $0.count - written, off_t(offset + written))
        }
      }
    }
  }

  /// Reads up to `count` bytes; none at the end.
  func read(_ count: Int, at offset: Int) throws(SystemError) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    let read = try SystemError.check("read '\(path)'") {
      bytes.withUnsafeMutableBytes { pread(number, $0.baseAddress, $0.count, off_t(offset)) }
    }
    bytes.removeLast(count - read)
    return bytes
  }

  /// Waits until it is on the disk.
  func synchronize() throws(SystemError) {
    try SystemError.check("synchronise '\(path)'") { fsync(number) }
  }

  /// Cuts it off.
  func truncate(to length: Int) throws(SystemError) {
    try SystemError.check("cut '\(path)'") { ftruncate(number, off_t(length)) }
  }

  private func status() throws(SystemError) -> stat {
    var status = stat()
    try SystemError.check("look at '\(path)'") { fstat(number, &status) }
    return status
  }

  /// How many bytes it has.
  func length() throws(SystemError) -> Int { Int(try status().st_size) }

  /// Whether no name leads to it any more: what is written into it is lost.
  func isDeleted() throws(SystemError) -> Bool { try status().st_nlink == 0 }
}

/// What is done to the entries of folders.
///
/// All of it blocks.
enum Folder {
  /// Makes a folder where there is none, and puts its name on the disk.
  static func make(_ path: String) throws(SystemError) {
    let parent = URL(fileURLWithPath: path).deletingLastPathComponent().path
    do throws(SystemError) {
      try SystemError.check("make the folder '\(path)'") { mkdir(path, 0o755) }
    } catch {
      guard error.code == EEXIST else { throw error }
      // Perhaps its name is not on the disk yet; of one that somebody else has made, the parent may not be for us to open.
      try? synchronize(parent)
      return
    }
    try synchronize(parent)
  }

  /// Puts the names in it on the disk.
  static func synchronize(_ path: String) throws(SystemError) {
    try Descriptor(path, O_RDONLY | O_DIRECTORY).synchronize()
  }

  /// Gives a file another name, which is on the disk when this returns.
  static func rename(_ name: String, to other: String, in folder: String) throws(SystemError) {
    try SystemError.check("rename '\(folder)/\(name)'") { Foundation.rename("\(folder)/\(name)", "\(folder)/\(other)") }
    try synchronize(folder)
  }

  /// Takes a file away, if it is there.
  static func remove(_ name: String, in folder: String) throws(SystemError) {
    do throws(SystemError) {
      try SystemError.check("remove '\(folder)/\(name)'") { unlink("\(folder)/\(name)") }
    } catch {
      if error.code != ENOENT { throw error }
    }
  }

  /// The names in it; none where it is not there.
  static func names(_ path: String) throws(SystemError) -> [String] {
    guard let folder = opendir(path) else {
      if errno == ENOENT || errno == ENOTDIR { return [] }
      throw SystemError(action: "list '\(path)'", code: errno)
    }
    defer { closedir(folder) }
    var names: [String] = []
    while let entry = readdir(folder) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) {
        $0.withMemoryRebound(to: CChar.self, capacity: Int(entry.pointee.d_reclen)) { String(cString: $0) }
      }
      if name != ".", name != ".." { names.append(name) }
    }
    return names
  }
}
