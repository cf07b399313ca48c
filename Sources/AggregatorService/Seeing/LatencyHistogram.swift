/// How often times of each length were seen.
///
/// Buckets grow with the time: sixteen for each power of two, so that a quantile is right within 6 % from 16 microseconds to a
/// day and a half, in 2 KiB. Shorter times have a bucket for each microsecond; longer ones are counted in the last.
struct LatencyHistogram: Sendable {
  private static let longestPower = 36
  private static let buckets = (longestPower - 3) * 16 + 16

  /// Empty until the first time is recorded: most windows of most streams are.
  private var counts: [UInt32] = []
  private(set) var count = 0

  mutating func record(_ time: Duration) {
    if counts.isEmpty { counts = [UInt32](repeating: 0, count: Self.buckets) }
    counts[Self.bucket(of: max(time.milliseconds * 1_000, 0))] &+= 1
    count += 1
  }

  mutating func add(_ other: LatencyHistogram) {
    guard other.count > 0 else { return }
    if counts.isEmpty {
      self = other
      return
    }
    for index in counts.indices { counts[index] &+= other.counts[index] }
    count += other.count
  }

  /// The time in milliseconds that this share of all times does not exceed; `nil` when there are none.
  func quantile(_ share: Double) -> Double? {
    guard count > 0 else { return nil }
    let rank = max(1, (share * Double(count)).rounded(.up))
    var before = 0.0
    for (index, bucketCount) in counts.enumerated() where bucketCount > 0 {
      let inBucket = Double(bucketCount)
      if before + inBucket >= rank {
        let (lower, width) = Self.bounds(of: index)
        return (lower + width * (rank - before) / inBucket) / 1_000
      }
      before += inBucket
    }
    return nil
  }

  private static func bucket(of microseconds: Double) -> Int {
    guard microseconds < Double(1 << (longestPower + 1)) else { return buckets - 1 }
    let value = Int(microseconds)
    guard value >= 16 else { return value }
    let power = Int.bitWidth - 1 - value.leadingZeroBitCount
    return (power - 3) * 16 + (value >> (power - 4)) & 15
  }

  /// In microseconds.
  private static func bounds(of bucket: Int) -> (lower: Double, width: Double) {
    guard bucket >= 16 else { return (Double(bucket), 1) }
    let power = bucket / 16 + 3
    return (Double((16 + bucket % 16) << (power - 4)), Double(1 << (power - 4)))
  }
}

/// The times of about the last minute, and how many there have been since the beginning.
struct RecentLatency: Sendable {
  private static let windows = 7
  private static let width = 10.0

  private var histograms = [LatencyHistogram](repeating: LatencyHistogram(), count: windows)
  /// The number of the newest window since the beginning.
  private var newest = 0
  private(set) var count = 0
  private(set) var sum = Duration.zero

  mutating func record(_ time: Duration, now: Duration) {
    turn(to: now)
    histograms[newest % Self.windows].record(time)
    count += 1
    sum += time
  }

  /// Those of the last 60 to 70 seconds.
  mutating func recent(now: Duration) -> LatencyHistogram {
    turn(to: now)
    return histograms.reduce(into: LatencyHistogram()) { $0.add($1) }
  }

  private mutating func turn(to now: Duration) {
    let window = Int(now.seconds / Self.width)
    guard window > newest else { return }
    for number in max(newest + 1, window - Self.windows + 1)...window {
      histograms[number % Self.windows] = LatencyHistogram()
    }
    newest = window
  }
}
