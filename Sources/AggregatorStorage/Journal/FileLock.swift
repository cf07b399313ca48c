import Foundation
import Synchronization

/// Keeps a second process away until it is released, or its process ends.
///
/// It is advisory (`flock`), on a file beside the one that is meant; the system lets go of it whatever ends the process.
final class FileLock: Sendable {
  private let held: Mutex<Int32?>

  /// Takes the lock `PATH.lock`.
  ///
  /// The file stays when the lock is gone: who removes it lets two others in.
  ///
  /// - Throws: ``ProgramError`` when another process has it, or the file cannot be made.
  init(beside path: String, purpose: String) throws(ProgramError) {
    let file = path + ".lock"
    let descriptor = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else {
      throw ProgramError("cannot \(purpose) '\(path)': '\(file)' cannot be made: \(String(cString: strerror(errno)))")
    }
    guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
      let isHeld = errno == EWOULDBLOCK
      let why = String(cString: strerror(errno))
      let holder = (try? String(contentsOfFile: file, encoding: .utf8))?.trimmingCharacters(in: .newlines) ?? ""
      close(descriptor)
      throw ProgramError(
        isHeld
          ? "cannot \(purpose) '\(path)': another program\(holder.isEmpty ? "" : ", process \(holder),") uses it; "
            + "stop that one, or give another path"
          : "cannot \(purpose) '\(path)': '\(file)' cannot be locked: \(why)")
    }
    // For a person who looks for the holder.
    let holder = Array("\(getpid())\n".utf8)
    if ftruncate(descriptor, 0) == 0 { _ = holder.withUnsafeBytes { pwrite(descriptor, $0.baseAddress, $0.count, 0) } }
    held = Mutex(descriptor)
  }

  deinit {
    release()
  }

  /// Lets others in.
  func release() {
    let descriptor = held.withLock { $0.take() }
    guard let descriptor else { return }
    // Said, and not left to the closing: a process that is just being started has a copy of the descriptor for a moment.
    _ = flock(descriptor, LOCK_UN)
    close(descriptor)
  }
}
