import Batching

/// What became of messages that were written so that those that are refused do not keep the others out.
///
/// A list that is refused for good is halved until what is refused stands alone. It goes on in the messages' order, and stops at
/// the first failure that is no refusal: an outage is not split, and what comes after it would come too early.
struct IsolatingWrite {
  /// Messages, by their offsets, that are refused for good.
  private(set) var refused: [Int: Refusal] = [:]
  /// The offset from which on nothing is stored, and why; `nil` when all are stored or refused.
  private(set) var stopped: (from: Int, error: any Error)?

  /// Writes `count` messages by calls of `write` with ranges of their offsets.
  init(count: Int, write: (Range<Int>, _ isPart: Bool) async throws -> Void) async {
    // The next one last. Each list is in it once whole, and once as halves: `count` × 2 - 1 calls at most.
    var lists = [(range: 0..<count, attempts: 1)]
    while let (range, attempts) = lists.popLast() {
      do {
        try await write(range, range.count < count)
      } catch {
        guard (error as? any RetryAdvising)?.isRetryable == false else {
          stopped = (range.lowerBound, error)
          return
        }
        guard range.count > 1 else {
          refused[range.lowerBound] = Refusal(error: error, attempts: attempts)
          continue
        }
        let middle = range.lowerBound + range.count / 2
        lists.append((middle..<range.upperBound, attempts + 1))
        lists.append((range.lowerBound..<middle, attempts + 1))
      }
    }
  }

  /// Offsets of those that are stored.
  func stored(of count: Int) -> some Sequence<Int> {
    (0..<(stopped?.from ?? count)).lazy.filter { [refused] in refused[$0] == nil }
  }
}

/// A sink refuses a message for good.
struct Refusal: RetryAdvising, CustomStringConvertible {
  /// What the sink said.
  let error: any Error
  /// Writes that the message was part of, down to that of itself alone.
  let attempts: Int

  var isRetryable: Bool { false }
  var retryAfter: Duration? { nil }
  var description: String { "\(error)" }
}
