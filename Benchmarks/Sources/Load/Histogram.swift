/// How often which time was seen, in bounded memory and with an error of less than 1 %: ten minutes have ten million answers.
struct Histogram {
  /// Each power of two is divided into so many.
  private static let parts = 128
  private var counts = [Int](repeating: 0, count: 40 * parts)
  private(set) var count = 0
  /// Exactly.
  private(set) var greatest = Duration.zero

  mutating func add(_ time: Duration) {
    greatest = max(greatest, time)
    let (seconds, attoseconds) = time.components
    let microseconds = Int(seconds) * 1_000_000 + Int(attoseconds / 1_000_000_000_000)
    counts[min(Self.index(microseconds), counts.count - 1)] += 1
    count += 1
  }

  mutating func add(_ other: Histogram) {
    for index in counts.indices { counts[index] += other.counts[index] }
    count += other.count
    greatest = max(greatest, other.greatest)
  }

  /// The time that this share of all was not longer than, in milliseconds.
  func milliseconds(at share: Double) -> Double {
    let wanted = max(1, Int((Double(count) * share).rounded(.up)))
    var seen = 0
    for index in counts.indices {
      seen += counts[index]
      if seen >= wanted { return Double(Self.end(of: index)) / 1000 }
    }
    return greatest / .milliseconds(1)
  }

  private static func index(_ value: Int) -> Int {
    guard value >= parts else { return max(0, value) }
    let shift = Int.bitWidth - value.leadingZeroBitCount - parts.trailingZeroBitCount - 1
    return shift * parts + value >> shift
  }

  /// The greatest value that has this index.
  private static func end(of index: Int) -> Int {
    guard index >= 2 * parts else { return index }
    let shift = index / parts - 1
    return (index - shift * parts + 1) << shift - 1
  }
}
