// Every word of a text, in batches of four. When `withAggregator` returns, every batch has been handled.
//
//   swift run --package-path Examples WithAggregator

import Batching

@main
struct WithAggregator {
  static func main() async throws {
    let words = "the quick brown fox jumps over the lazy dog and runs away".split(separator: " ").map(String.init)

    let sent = try await withAggregator(of: String.self, configuration: .init(batchSize: 4)) { batch in
      print("\(batch.sequenceNumber): \(batch.joined(separator: " "))   (\(batch.trigger))")
    } body: { aggregator in
      for word in words {
        // Waits only when as many words are held as may be: backpressure.
        try await aggregator.send(word)
      }
      return words.count
    }

    print("\(sent) words sent, and all of them handled")
  }
}
