import BatchingTesting
import Foundation
import Testing

struct TimedOut: Error {}

/// Returns once the condition holds, for what no event tells; fails the test when that takes unreasonably long.
func eventually(
  _ what: Comment, sourceLocation: SourceLocation = #_sourceLocation, _ condition: () -> Bool
) async throws {
  let deadline = ContinuousClock.now + .seconds(30)
  while !condition() {
    guard ContinuousClock.now < deadline else {
      Issue.record("never came true: \(what)", sourceLocation: sourceLocation)
      throw TimedOut()
    }
    try Task.checkCancellation()
    await Task.yield()
  }
}

/// Lets the tasks that could run do so, before something is expected *not* to have happened.
func settle() async {
  for _ in 0..<50 { await Task.yield() }
}

/// Runs the body on a thread of its own, for what must work without an async context.
func onThread<Output: Sendable>(_ body: @escaping @Sendable () -> Output) async throws -> Output {
  let output = Watched<Output?>(nil)
  Thread.detachNewThread {
    let result = body()
    output.change { $0 = result }
  }
  try await output.wait { $0 != nil }
  return try #require(output.current)
}
