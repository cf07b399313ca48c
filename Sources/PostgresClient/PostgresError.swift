import CPostgres

/// What the server, or libpq, says of a failure.
package struct PostgresError: Error, CustomStringConvertible {
  /// In words.
  package let description: String
  /// The five characters of SQLSTATE; `nil` when no server said anything (no connection).
  package let state: String?

  package init(description: String, state: String?) {
    self.description = description
    self.state = state
  }
}
