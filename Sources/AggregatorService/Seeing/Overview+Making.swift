import AggregatorStorage
import Batching
package import Foundation

extension Overview {
  /// What the program says of itself, beside its meters.
  package struct Program: Sendable {
    package var version: String
    package var source: String
    /// As it may be shown: without password.
    package var target: String
    package var settings: Settings
    package var state = State.running
    /// Messages that take room of `settings.capacity`; `nil` when all do that the meters hold.
    package var held: Int?
    package var journal: Journal?
    package var deadLetters: Int?
    package var connections: Int?
    /// How far it is behind, where it reads from a distributed log.
    package var log: Log?

    package init(version: String, source: String, target: String, settings: Settings) {
      self.version = version
      self.source = source
      self.target = target
      self.settings = settings
    }
  }

  /// With more streams than this each shows fewer of its last batches.
  private static let manyStreams = 20
  private static let batchesOfMany = 5

  /// Reads all meters once.
  package init(of meters: Meters, program: Program) {
    let now = meters.clock.now()
    let beginning = meters.clock.beginning
    let readings = meters.all.map { (name: $0.name.description, reading: $0.reading()) }
    let total = readings.reduce(into: StreamReading()) { $0.add($1.reading) }
    let surroundings = StreamState.Surroundings(
      settings: program.settings, held: program.held ?? total.counts.held, openBatches: total.openBatches)
    // Who listens gets all of it each second.
    let batches = readings.count > Self.manyStreams ? Self.batchesOfMany : MeterState.recentBatches
    let streams = readings.map { name, reading in
      var numbers = Numbers(reading, beginning: beginning)
      numbers.recentBatches.removeLast(max(numbers.recentBatches.count - batches, 0))
      return Stream(name: name, limit: StreamState(of: reading, in: surroundings), numbers: numbers)
    }
    self.init(
      version: program.version,
      time: beginning + now.seconds,
      uptime: now.seconds,
      second: Int(now.components.seconds) - 1,
      state: program.state,
      source: program.source,
      target: program.target,
      settings: program.settings,
      held: surroundings.held,
      limit: Limit(of: streams, total, surroundings),
      totals: Numbers(total, beginning: beginning),
      streams: streams,
      journal: program.journal,
      deadLetters: program.deadLetters,
      connections: program.connections,
      log: program.log
    )
  }

  /// As `/v1/statistics` answers it.
  package func json() throws -> Data {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    return try encoder.encode(self)
  }
}

extension Overview.Limit {
  fileprivate init(of streams: [Overview.Stream], _ total: StreamReading, _ surroundings: StreamState.Surroundings) {
    let worst = streams.max { $0.limit.kind < $1.limit.kind }
    guard let worst else {
      let idle = StreamState(of: StreamReading(), in: surroundings)
      self.init(kind: idle.kind, sentence: idle.sentence, stream: nil)
      return
    }
    if streams.count > 1, let sentence = StreamState.sentenceOfAll(worst.limit.kind, total, surroundings.settings) {
      self.init(kind: worst.limit.kind, sentence: sentence, stream: nil)
      return
    }
    let isOfAll = streams.count == 1 || worst.limit.kind == .idle || worst.limit.kind == .full
    self.init(kind: worst.limit.kind, sentence: worst.limit.sentence, stream: isOfAll ? nil : worst.name)
  }
}

extension Overview.Numbers {
  fileprivate init(_ reading: StreamReading, beginning: Double) {
    let counts = reading.counts
    self.init(
      received: counts.received,
      recovered: counts.recovered,
      stored: counts.stored,
      refused: counts.refused,
      rejected: counts.rejected,
      held: counts.held,
      inFlight: counts.inFlight,
      retries: counts.retries,
      batches: Dictionary(
        uniqueKeysWithValues: Trigger.allCases.map { ($0.description, counts.batches[$0] ?? 0) }),
      lastSecond: Overview.LastSecond(received: reading.lastSecond.received, stored: reading.lastSecond.stored),
      receivedPerSecond: reading.perSecond(\.received),
      storedPerSecond: reading.perSecond(\.stored),
      busy: reading.busy.rounded(toPlaces: 4),
      meanBatch: reading.meanBatch?.rounded(toPlaces: 2),
      waitMilliseconds: Overview.Latency(reading.wait, count: reading.waitCount, sum: reading.waitSum),
      handlerMilliseconds: Overview.Latency(reading.handler, count: reading.handlerCount, sum: reading.handlerSum),
      backingOff: reading.backsOff,
      lastFailure: reading.failure.map {
        Overview.Failure(time: beginning + $0.at.seconds, reason: $0.reason, streak: $0.streak)
      },
      recentBatches: reading.recent.map {
        Overview.Batch(
          stream: $0.stream, time: beginning + $0.began.seconds, messages: $0.messages,
          trigger: $0.trigger.description, attempts: $0.attempts,
          milliseconds: $0.took.milliseconds.rounded(toPlaces: 3), outcome: $0.outcome.rawValue)
      }
    )
  }
}

extension Overview.Latency {
  fileprivate init(_ recent: LatencyHistogram, count: Int, sum: Duration) {
    self.init(
      p50: recent.quantile(0.5)?.rounded(toPlaces: 3),
      p90: recent.quantile(0.9)?.rounded(toPlaces: 3),
      p99: recent.quantile(0.99)?.rounded(toPlaces: 3),
      count: count,
      sum: sum.milliseconds.rounded(toPlaces: 3)
    )
  }
}

extension Double {
  fileprivate func rounded(toPlaces places: Int) -> Double {
    let factor = pow(10, Double(places))
    return (self * factor).rounded() / factor
  }
}
