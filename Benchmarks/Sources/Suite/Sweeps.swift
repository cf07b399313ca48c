import Batching
import Foundation

/// A message that is no reference, and takes a cache line.
struct CacheLine: Sendable {
  var words = InlineArray<8, Int>(repeating: 1)
}

final class Reference: Sendable {}

/// How the cost grows with one thing at a time, and with producers and batch size together.
struct Sweeps {
  static let producers = [1, 2, 4, 16, 64]
  static let batchSizes = [1, 8, 64, 512, 4096]
  let scale: Double

  /// Small batches cost more a message, so they get fewer.
  private func messages(_ batchSize: Int) -> Int {
    max(Int(scale * Double(batchSize < 64 ? 200_000 : 1_000_000)), 6400)
  }

  static func name(_ producers: Int, _ batchSize: Int) -> String { "\(producers) × \(batchSize)" }

  var grid: [Case] {
    Self.batchSizes.flatMap { batchSize in
      Self.producers.map { producers in
        Case(Self.name(producers, batchSize), messages: messages(batchSize)) {
          try await send($0, batchSize: batchSize, producers: producers)
        }
      }
    }
  }

  var types: [Case] {
    let count = messages(512)
    let text = "a string of more than fifteen bytes"
    let reference = Reference()
    return [
      Case("`Int`", messages: count) { try await send($0, of: 1) },
      Case("a struct of 64 bytes", messages: count) { try await send($0, of: CacheLine()) },
      Case("a class reference", messages: count) { try await send($0, of: reference) },
      Case("a `String` on the heap", messages: count) { try await send($0, of: text) },
    ]
  }

  var handlers: [Case] {
    let count = max(Int(scale * 102_400), 6400)
    func one(_ name: String, _ concurrency: Int, _ work: @escaping @Sendable () async throws -> Void) -> Case {
      Case(name, messages: count) {
        try await pipeline(
          $0, .init(batchSize: 512, concurrency: concurrency), producers: 1, handler: { _ in try await work() },
          produce: { aggregator, messages in
            for message in messages { try await aggregator.send(message) }
          })
      }
    }
    let work: @Sendable () -> Void = {
      let end = ContinuousClock.now + .milliseconds(1)
      while ContinuousClock.now < end {}
    }
    return [
      one("instant", 1) {},
      one("1 ms of work, 1 slot", 1) { work() },
      one("1 ms of work, 2 slots", 2) { work() },
      one("1 ms of waiting, 1 slot", 1) { try await Task.sleep(for: .milliseconds(1)) },
      one("1 ms of waiting, 8 slots", 8) { try await Task.sleep(for: .milliseconds(1)) },
    ]
  }
}
