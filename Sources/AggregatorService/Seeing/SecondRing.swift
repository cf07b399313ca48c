/// What happened in one second.
struct Second: Sendable, Equatable {
  var received = 0
  var stored = 0
  var rejected = 0
  /// Batches that were first tried, and messages in them.
  var batches = 0
  var batchedMessages = 0
  /// Those of the batches that went because their first message had waited long enough.
  var lingered = 0
  /// Handler calls at once, over the second: 2 when two went on all the time.
  var busy = 0.0

  static func += (sum: inout Second, other: Second) {
    sum.received += other.received
    sum.stored += other.stored
    sum.rejected += other.rejected
    sum.batches += other.batches
    sum.batchedMessages += other.batchedMessages
    sum.lingered += other.lingered
    sum.busy += other.busy
  }
}

/// The last two minutes, second by second.
struct SecondRing: Sendable {
  /// Seconds that can be asked for; the one that is going on is kept beside.
  static let length = 120

  private var seconds = [Second](repeating: Second(), count: length + 1)
  /// The second that is going on, counted from the beginning.
  private(set) var number = 0

  var current: Second {
    get { seconds[number % seconds.count] }
    set { seconds[number % seconds.count] = newValue }
  }

  mutating func advance(to number: Int) {
    guard number > self.number else { return }
    for passed in max(self.number + 1, number - seconds.count + 1)...number {
      seconds[passed % seconds.count] = Second()
    }
    self.number = number
  }

  /// The last complete seconds, oldest first; fewer than asked for when it has not been running so long.
  func last(_ count: Int) -> [Second] {
    (max(0, number - min(count, Self.length))..<number).map { seconds[$0 % seconds.count] }
  }
}
