package import AggregatorStorage
import Synchronization

/// The meters of all streams.
///
/// A journal, or whoever else does the work, tells of it through its own protocol; an adapter to these meters has one line for
/// each of its methods, `meters.meter(for: stream).batchBegan(…)`.
package final class Meters: Sendable {
  private let meters = Mutex<[StreamName: StreamMeter]>([:])
  let clock: MeterClock

  /// Makes the meters of a program in which nothing has happened.
  package init(clock: MeterClock) {
    self.clock = clock
  }

  /// The stream's meter, made where it is missing: ask for it only once the stream is known to be let in.
  package func meter(for stream: StreamName) -> StreamMeter {
    meters.withLock { meters in
      if let meter = meters[stream] { return meter }
      let meter = StreamMeter(name: stream, clock: clock)
      meters[stream] = meter
      return meter
    }
  }

  /// By name.
  var all: [StreamMeter] {
    meters.withLock { Array($0.values) }.sorted { $0.name < $1.name }
  }
}
