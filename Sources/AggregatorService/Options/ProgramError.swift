/// Why the program cannot start or go on, in words for its operator: what was wrong, where, and what to do.
public struct ProgramError: Error, CustomStringConvertible {
  /// The words.
  public let description: String

  /// Makes an error that says `description`.
  public init(_ description: String) {
    self.description = description
  }
}
