import Foundation

/// Keeps a folder for one process, as long as it is held; the system lets go of it when the process ends, however it ends.
final class FolderLock: Sendable {
  static let name = ".lock"

  private let descriptor: Descriptor

  /// Takes the folder.
  ///
  /// - Throws: ``ProgramError`` that says who has it.
  init(_ folder: String) throws(ProgramError) {
    let path = "\(folder)/\(Self.name)"
    do throws(SystemError) {
      descriptor = try Descriptor(path, O_RDWR | O_CREAT)
      try SystemError.check("lock '\(path)'") { flock(descriptor.number, LOCK_EX | LOCK_NB) }
      // For the eye, and for the message below.
      try descriptor.truncate(to: 0)
      try? descriptor.write(Array("\(getpid())\n".utf8), at: 0)
    } catch {
      guard error.code == EWOULDBLOCK else { throw ProgramError("cannot store in '\(folder)': \(error)") }
      let holder = (try? String(contentsOfFile: path, encoding: .utf8)) ?? ""
      let process = Int(holder.trimmingCharacters(in: .whitespacesAndNewlines)).map { "process \($0)" }
      throw ProgramError(
        "cannot store in '\(folder)': \(process ?? "another process") writes there; stop it, or give another folder")
    }
  }

  deinit {
    // Closing is not enough: a process that is just being started shares what is open until it has become another program.
    flock(descriptor.number, LOCK_UN)
  }
}
