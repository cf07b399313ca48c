/// Why bytes are not the messages that they are said to be, or not such as are wanted.
struct MessageSyntaxError: Error, Equatable {
  /// The line, from 1.
  var line: Int
  /// The column in the line, from 1; it counts characters as Unicode code points, as editors do.
  let column: Int
  /// What was expected, what was found, and what to do where that is not plain.
  let reason: String
  /// Whether it is a message's size that is wrong.
  var isTooLarge = false
}
