// Messages from code that knows nothing of async: callbacks of a C library, threads, signal-driven loops. `trySend` needs
// no task, never waits, and says what became of the message.
//
//   swift run --package-path Examples FromSynchronousCode

import Batching
import Dispatch

@main
struct FromSynchronousCode {
  static func main() async throws {
    let aggregator = try Aggregator<Int>(configuration: .init(batchSize: 1_000, concurrency: 2)) { batch in
      print("batch \(batch.sequenceNumber): \(batch.count) messages, due by \(batch.trigger)")
    }
    async let running: Void = aggregator.run()

    // Four threads, as a C library would call back on them.
    DispatchQueue.concurrentPerform(iterations: 4) { thread in
      for message in 0..<2_500 {
        switch aggregator.trySend(thread * 2_500 + message) {
        case .accepted: break
        case .full: print("full: drop it, count it, or try again later")
        case .closed, .tooHeavy: return
        }
      }
    }

    aggregator.shutdown()
    try await running
    print("handled \(aggregator.statistics.handled) messages")
  }
}
