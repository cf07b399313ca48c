/// How the program ends.
package struct ExitCode: Sendable, Hashable {
  /// What the process exits with.
  package let status: Int32

  /// All was done.
  package static let success = ExitCode(status: 0)
  /// It could not start, or something it needs failed for good.
  package static let failure = ExitCode(status: 1)
  /// All well-formed lines were stored, but there were malformed ones (`EX_DATAERR`).
  package static let malformedLines = ExitCode(status: 65)
  /// Some messages could not be stored (`EX_IOERR`).
  package static let notStored = ExitCode(status: 74)

  /// A signal ended it before its input did, as shells say it.
  package static func signal(_ number: Int32) -> ExitCode {
    ExitCode(status: 128 + number)
  }
}
