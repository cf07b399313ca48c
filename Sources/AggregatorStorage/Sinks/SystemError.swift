import Foundation

/// A call of the system that failed.
struct SystemError: Error, CustomStringConvertible {
  /// What was to be done, as in "write '/a/b'".
  let action: String
  /// Its `errno`.
  let code: Int32

  /// In words, with what to do.
  var description: String { "cannot \(action): \(why)" }

  private var why: String {
    switch code {
    case ENOSPC, EDQUOT: "the disk is full; make room"
    case EACCES, EPERM: "this user may not; change the permissions of the file and its folder"
    case EROFS: "the file system is read-only"
    case EIO: "reading or writing failed; see to the disk"
    case EMFILE, ENFILE: "too many files are open; raise the limit (ulimit -n)"
    case ESHUTDOWN: "it is closed"
    case ENOTDIR: "there is a file where a folder should be; take it away"
    default: String(cString: strerror(code))
    }
  }

  /// Whether the same may do later; what is too large for a file of this file system never will.
  var mayPass: Bool { code != EFBIG }

  /// Calls the system, again where a signal came between.
  @discardableResult
  static func check<Result: SignedInteger>(
    _ action: @autoclosure () -> String, _ call: () -> Result
  ) throws(SystemError) -> Result {
    while true {
      let result = call()
      if result >= 0 { return result }
      let code = errno
      if code != EINTR { throw SystemError(action: action(), code: code) }
    }
  }
}
