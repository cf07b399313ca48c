/// Why bytes are not the messages that they are said to be.
struct MessageSyntaxError: Error, Equatable {
  /// The line, from 1.
  let line: Int
  /// The column in the line, from 1; it counts characters as Unicode code points, as editors do.
  let column: Int
  /// What was expected, what was found, and what to do where that is not plain.
  let reason: String
}
