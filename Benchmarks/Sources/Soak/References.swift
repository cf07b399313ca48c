import Batching
import Foundation
import Synchronization

/// Objects that a sender and the aggregator hold at the same time: each must have its own hold on them before the lock is released.
///
/// The optimiser knows nothing of other threads and has moved a retain behind the release of a lock, where another thread may
/// already have let go of the object. Only a release build shows that, by a crash: with more threads than processors, some are
/// descheduled in between.
struct References {
  let seconds: Int

  func run() async throws {
    try await sentAndKept()
    try await forgottenKeys()
  }

  /// Senders that go on using what they have sent.
  private func sentAndKept() async throws {
    final class Message: Sendable {
      let number: Int
      init(number: Int) { self.number = number }
    }
    let handled = Atomic(0)
    let aggregator = try Aggregator<Message>(
      configuration: .init(batchSize: 8, linger: .zero, concurrency: 2, capacity: 64, overflow: .reject)
    ) { batch in
      handled.add(batch.count, ordering: .relaxed)
    }
    async let running: Void = aggregator.run()
    let accepted = await sendFromThreads { number in
      let message = Message(number: number)
      let isAccepted = aggregator.trySend(message) == .accepted
      precondition(message.number == number)
      return isAccepted
    }
    aggregator.shutdown()
    try await running
    try check("messages that are kept", accepted: accepted, handled: handled.load(ordering: .relaxed))
  }

  /// Keys that are compared outside the lock, and forgotten all the time.
  private func forgottenKeys() async throws {
    /// Not one of the standard library's, whose comparison is no user's code.
    struct Name: Hashable, Sendable { let text: String }
    let names = (0..<2).map { Name(text: "a name that is too long to lie in the string itself \($0)") }
    let handled = Atomic(0)
    let aggregator = try KeyedAggregator<Name, Int>(
      configuration: .init(batchSize: 2, linger: .zero, concurrency: 2, capacity: 64, overflow: .reject),
      key: { Name(text: String(names[$0 % 2].text)) }
    ) { _, batch in
      handled.add(batch.count, ordering: .relaxed)
    }
    async let running: Void = aggregator.run()
    let accepted = await sendFromThreads { aggregator.trySend($0) == .accepted }
    aggregator.shutdown()
    try await running
    try check("forgotten keys", accepted: accepted, handled: handled.load(ordering: .relaxed))
  }

  /// How many of the messages were accepted that four threads a processor sent all the time.
  private func sendFromThreads(_ send: @escaping @Sendable (Int) -> Bool) async -> Int {
    let end = ContinuousClock.now + .seconds(seconds)
    return await withTaskGroup(of: Int.self) { group in
      for _ in 0..<4 * ProcessInfo.processInfo.activeProcessorCount {
        group.addTask {
          await withUnsafeContinuation { continuation in
            Thread.detachNewThread {
              var accepted = 0
              while ContinuousClock.now < end {
                for number in 0..<1_000 where send(number) { accepted += 1 }
              }
              continuation.resume(returning: accepted)
            }
          }
        }
      }
      return await group.reduce(0, +)
    }
  }

  private func check(_ what: String, accepted: Int, handled: Int) throws {
    guard handled == accepted else { throw SoakFailure("\(what): \(accepted) accepted, \(handled) handled") }
    print("\(what): \(accepted), each handled")
  }
}
