/// Why the program cannot start or go on, in words for its operator: what was wrong, where, and what to do.
package struct ProgramError: Error, CustomStringConvertible {
  /// The words.
  package let description: String

  /// Makes an error that says `description`.
  package init(_ description: String) {
    self.description = description
  }
}
