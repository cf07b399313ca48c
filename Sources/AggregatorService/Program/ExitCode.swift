/// How the program ends.
public struct ExitCode: Sendable, Hashable {
  /// What the process exits with.
  public let status: Int32

  /// All was done.
  public static let success = ExitCode(status: 0)
  /// It could not start, or something it needs failed for good.
  public static let failure = ExitCode(status: 1)
  /// All well-formed lines were stored, but there were malformed ones (`EX_DATAERR`).
  public static let malformedLines = ExitCode(status: 65)
  /// Some messages could not be stored (`EX_IOERR`).
  public static let notStored = ExitCode(status: 74)

  /// A signal ended it before its input did, as shells say it.
  public static func signal(_ number: Int32) -> ExitCode {
    ExitCode(status: 128 + number)
  }
}
