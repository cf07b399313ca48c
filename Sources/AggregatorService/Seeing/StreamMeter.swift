package import AggregatorStorage
package import Batching
import Synchronization

/// What becomes of the messages of one stream, counted where it happens.
///
/// Every method may be called from any thread; each takes a lock for well under a microsecond. The numbers add up at every
/// instant: `received + recovered == stored + refused + held`.
///
/// One who stores batches tells it, for each handler call, ``batchBegan(messages:trigger:attempt:waited:)`` and
/// ``batchEnded(messages:took:outcome:)``. Calls that overlap are told apart by their number of messages, which is all that the
/// list of the last batches needs.
package final class StreamMeter: Sendable {
  /// What became of a handler call.
  package enum Outcome: Sendable {
    /// All of its messages are stored.
    case stored
    /// None is, and the same messages will be tried again; `reason` never quotes a message.
    case failed(reason: String)
    /// It will not be tried as it is. Messages that are given up are told by ``StreamMeter/refused(messages:)``; the others
    /// come again in smaller batches.
    case refused(reason: String)
    /// So many are stored; of the others, see `refused`.
    case partly(stored: Int, reason: String)
  }

  package let name: StreamName
  private let clock: MeterClock
  private let state: Mutex<MeterState>

  init(name: StreamName, clock: MeterClock) {
    self.name = name
    self.clock = clock
    state = Mutex(MeterState(stream: name.description))
  }

  /// Messages were accepted: from now on they are held.
  package func received(messages: Int) {
    record { $0.received(messages) }
  }

  /// Messages of an earlier run were found in the journal: from now on they are held.
  package func recovered(messages: Int) {
    record { $0.recovered(messages) }
  }

  /// Messages were not accepted; the client was told to come again.
  package func rejected(messages: Int) {
    record { $0.rejected(messages) }
  }

  /// A handler call begins.
  ///
  /// - Parameters:
  ///   - messages: how many it has.
  ///   - trigger: what first made its batch due.
  ///   - attempt: from 1; the call is a retry when it is more.
  ///   - waited: how long its oldest message has been held.
  package func batchBegan(messages: Int, trigger: Trigger, attempt: Int, waited: Duration) {
    record { $0.batchBegan(messages, trigger, attempt: attempt, waited: waited) }
  }

  /// A handler call has ended.
  package func batchEnded(messages: Int, took: Duration, outcome: Outcome) {
    record { $0.batchEnded(messages, took: took, outcome) }
  }

  /// Messages were given up: they are dead letters, or their client was told that they could not be stored.
  package func refused(messages: Int) {
    record { $0.refused(messages) }
  }

  /// Everything, as it is now.
  func reading() -> StreamReading {
    record { $0.reading() }
  }

  /// The last complete seconds, oldest first, and the number of the one that is going on.
  func history() -> (number: Int, seconds: [Second]) {
    record { ($0.seconds.number, $0.seconds.last(SecondRing.length)) }
  }

  private func record<Result: Sendable>(_ event: (inout MeterState) -> Result) -> Result {
    let now = clock.now()
    return state.withLock { state in
      state.advance(to: now)
      return event(&state)
    }
  }
}
