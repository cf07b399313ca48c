import Batching

/// What is counted of a stream since the program began; `held` and `inFlight` are how things stand.
struct StreamCounts: Sendable, Equatable {
  var received = 0
  var recovered = 0
  var stored = 0
  var refused = 0
  var rejected = 0
  var held = 0
  var inFlight = 0
  var retries = 0
  var batches: [Trigger: Int] = [:]

  static func += (sum: inout StreamCounts, other: StreamCounts) {
    sum.received += other.received
    sum.recovered += other.recovered
    sum.stored += other.stored
    sum.refused += other.refused
    sum.rejected += other.rejected
    sum.held += other.held
    sum.inFlight += other.inFlight
    sum.retries += other.retries
    sum.batches.merge(other.batches, uniquingKeysWith: +)
  }
}

/// Why the last batch that failed did.
struct StreamFailure: Sendable, Equatable {
  /// Since the beginning.
  var at: Duration
  var reason: String
  /// Failures since something was stored, of batches that are tried again; 0 when it does not back off.
  var streak: Int
}

/// What a meter has to say at one instant.
struct StreamReading: Sendable {
  /// Rates and shares are over so many complete seconds.
  static let seconds = 5

  var now = Duration.zero
  var counts = StreamCounts()
  /// Handler calls that go on.
  var openBatches = 0
  var lastSecond = Second()
  /// The sum of the last complete seconds.
  var lastSeconds = Second()
  /// How many those are: fewer just after the start.
  var secondsSeen = 0
  /// Whether messages were rejected in the last two or three seconds.
  var rejectedNow = false
  var wait = LatencyHistogram()
  var waitCount = 0
  var waitSum = Duration.zero
  var handler = LatencyHistogram()
  var handlerCount = 0
  var handlerSum = Duration.zero
  var failure: StreamFailure?
  var recent: [RecentBatch] = []

  /// Messages that no handler call has.
  var waiting: Int { max(counts.held - counts.inFlight, 0) }

  var backsOff: Bool { (failure?.streak ?? 0) > 0 }

  func perSecond(_ count: KeyPath<Second, Int>) -> Double {
    secondsSeen == 0 ? 0 : Double(lastSeconds[keyPath: count]) / Double(secondsSeen)
  }

  /// Handler calls at once, on average.
  var busy: Double { secondsSeen == 0 ? 0 : lastSeconds.busy / Double(secondsSeen) }

  /// Messages in a batch, on average; `nil` when there were none lately.
  var meanBatch: Double? {
    lastSeconds.batches == 0 ? nil : Double(lastSeconds.batchedMessages) / Double(lastSeconds.batches)
  }

  /// Takes in another stream's, for the total.
  mutating func add(_ other: StreamReading) {
    now = max(now, other.now)
    counts += other.counts
    openBatches += other.openBatches
    lastSecond += other.lastSecond
    lastSeconds += other.lastSeconds
    secondsSeen = max(secondsSeen, other.secondsSeen)
    rejectedNow = rejectedNow || other.rejectedNow
    wait.add(other.wait)
    waitCount += other.waitCount
    waitSum += other.waitSum
    handler.add(other.handler)
    handlerCount += other.handlerCount
    handlerSum += other.handlerSum
    if let theirs = other.failure {
      let streak = (failure?.streak ?? 0) + theirs.streak
      if failure.map({ $0.at < theirs.at }) ?? true { failure = theirs }
      failure?.streak = streak
    }
    recent = (recent + other.recent).sorted { $0.began > $1.began }
    if recent.count > MeterState.recentBatches { recent.removeLast(recent.count - MeterState.recentBatches) }
  }
}
