import AggregatorStorage
package import Foundation

/// Messages a second over the last two minutes, so that the page's chart is full as soon as it is open.
package struct History: Sendable, Hashable, Codable {
  /// One number for each complete second, oldest first, at most 120; the last is that of `second`.
  package struct Series: Sendable, Hashable, Codable {
    package var received: [Int]
    package var stored: [Int]
  }

  /// The number of the last complete second since the start; -1 at first.
  package var second: Int
  package var totals: Series
  package var streams: [String: Series]

  /// Reads all meters once.
  package init(of meters: Meters) {
    let number = Int(meters.clock.now().components.seconds)
    second = number - 1
    let length = min(number, SecondRing.length)
    let none = [Int](repeating: 0, count: length)
    totals = Series(received: none, stored: none)
    streams = [:]
    for meter in meters.all {
      let history = meter.history()
      // Meters are asked one after the other, and a second may end meanwhile: all are cut to the same.
      let seconds = history.seconds.dropLast(max(history.number - number, 0)).suffix(length)
      let padding = [Int](repeating: 0, count: length - seconds.count)
      let series = Series(
        received: padding + seconds.map(\.received), stored: padding + seconds.map(\.stored))
      for index in 0..<length {
        totals.received[index] += series.received[index]
        totals.stored[index] += series.stored[index]
      }
      streams[meter.name.description] = series
    }
  }

  /// As `/v1/history` answers it.
  package func json() throws -> Data {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys]
    return try encoder.encode(self)
  }
}
