package struct NotInTime: Error, CustomStringConvertible {
  package let description: String

  package init(description: String) {
    self.description = description
  }
}

/// Waits for what only a look can tell, such as what another process has written; fails the test when it takes too long.
package func eventually(
  _ what: String, within limit: Duration = .seconds(30), _ condition: () async throws -> Bool
) async throws {
  let end = ContinuousClock.now + limit
  while try await !condition() {
    guard ContinuousClock.now < end else { throw NotInTime(description: "not in time: \(what)") }
    try await Task.sleep(for: .milliseconds(2))
  }
}
