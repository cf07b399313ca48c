import Foundation
import UnixSignals

extension Program {
  /// Runs `work`; the first signal calls `stop`, which makes it end, and a second one ends the process.
  func untilSignalled<Output: Sendable>(
    _ work: @escaping @Sendable () async throws -> Output, stop: @escaping @Sendable (Int32) async -> Void
  ) async throws -> Output {
    let signals = await UnixSignalsSequence(trapping: .sigint, .sigterm)
    return try await withThrowingTaskGroup(of: Output?.self) { group in
      group.addTask { try await work() }
      group.addTask {
        var isStopping = false
        for await signal in signals {
          if isStopping {
            console.say("aggregator: ended by a second signal; what was not acknowledged may be lost")
            Foundation._exit(128 + signal.rawValue)
          }
          isStopping = true
          console.say("aggregator: stopping; storing what was taken (a second signal ends at once)")
          await stop(signal.rawValue)
        }
        return nil
      }
      defer { group.cancelAll() }
      while let output = try await group.next() {
        if let output { return output }
      }
      throw CancellationError()
    }
  }
}
