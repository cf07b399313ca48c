import Batching

/// A batch as the list of the last ones shows it.
struct RecentBatch: Sendable, Equatable {
  enum Outcome: String, Sendable { case stored, retrying, refused, partly }

  var stream: String
  /// When its last handler call began, since the beginning.
  var began: Duration
  var messages: Int
  var trigger: Trigger
  var attempts: Int
  /// How long its last handler call took.
  var took: Duration
  var outcome: Outcome
}

/// All that a meter knows; times are handed in.
struct MeterState: Sendable {
  private struct OpenBatch: Sendable {
    var began: Duration
    var messages: Int
    var trigger: Trigger
    var attempt: Int
  }

  let stream: String
  private(set) var counts = StreamCounts()
  private(set) var seconds = SecondRing()
  private var wait = RecentLatency()
  private var handler = RecentLatency()
  /// Handler calls that go on, oldest first.
  private var open: [OpenBatch] = []
  /// The newest first.
  private var recent: [RecentBatch] = []
  /// The last failure, and how many there have been since something was stored.
  private var failure: StreamFailure?
  private var now = Duration.zero

  static let recentBatches = 20
  /// More handler calls than anybody runs at once; one whose end is not told cannot make the list grow.
  private static let mostOpen = 1_024
  private static let longestReason = 300

  init(stream: String) {
    self.stream = stream
  }

  /// Brings what goes by the clock up to date.
  ///
  /// Threads read the clock before they get the lock, so it may seem to go back by a little.
  mutating func advance(to time: Duration) {
    guard time > now else { return }
    let second = Int(time.components.seconds)
    if open.isEmpty {
      seconds.advance(to: second)
    } else {
      for passing in max(seconds.number, second - SecondRing.length)...second {
        seconds.advance(to: passing)
        let overlap = min(time, .seconds(passing + 1)) - max(now, .seconds(passing))
        seconds.current.busy += overlap.seconds * Double(open.count)
      }
    }
    now = time
  }

  mutating func received(_ messages: Int) {
    counts.received += messages
    counts.held += messages
    seconds.current.received += messages
  }

  mutating func recovered(_ messages: Int) {
    counts.recovered += messages
    counts.held += messages
  }

  mutating func rejected(_ messages: Int) {
    counts.rejected += messages
    seconds.current.rejected += messages
  }

  mutating func refused(_ messages: Int) {
    counts.refused += messages
    counts.held -= messages
    // What was tried in vain has been given up, which ends the back-off.
    failure?.streak = 0
  }

  mutating func batchBegan(_ messages: Int, _ trigger: Trigger, attempt: Int, waited: Duration) {
    if open.count < Self.mostOpen {
      open.append(OpenBatch(began: now, messages: messages, trigger: trigger, attempt: attempt))
      counts.inFlight += messages
    }
    guard attempt == 1 else {
      counts.retries += 1
      return
    }
    counts.batches[trigger, default: 0] += 1
    // A part of a batch that failed has been waited for already.
    guard trigger != .split else { return }
    wait.record(waited, now: now)
    seconds.current.batches += 1
    seconds.current.batchedMessages += messages
    if trigger == .linger { seconds.current.lingered += 1 }
  }

  mutating func batchEnded(_ messages: Int, took: Duration, _ outcome: StreamMeter.Outcome) {
    handler.record(took, now: now)
    let shown: RecentBatch.Outcome
    switch outcome {
    case .stored:
      store(messages)
      shown = .stored
    case .failed(let reason):
      fail(reason)
      shown = .retrying
    case .refused(let reason):
      fail(reason, isRetried: false)
      shown = .refused
    case .partly(let stored, let reason):
      store(stored)
      fail(reason, isRetried: false)
      shown = .partly
    }
    guard let index = open.firstIndex(where: { $0.messages == messages }) ?? open.indices.first else { return }
    let batch = open.remove(at: index)
    counts.inFlight -= batch.messages
    remember(
      RecentBatch(
        stream: stream, began: batch.began, messages: messages, trigger: batch.trigger, attempts: batch.attempt,
        took: took,
        outcome: shown))
  }

  private mutating func store(_ messages: Int) {
    counts.stored += messages
    counts.held -= messages
    seconds.current.stored += messages
    failure?.streak = 0
  }

  private mutating func fail(_ reason: String, isRetried: Bool = true) {
    let text = reason.count > Self.longestReason ? reason.prefix(Self.longestReason) + "…" : reason[...]
    failure = StreamFailure(at: now, reason: String(text), streak: isRetried ? (failure?.streak ?? 0) + 1 : 0)
  }

  /// A batch has one row, however often it is tried.
  private mutating func remember(_ batch: RecentBatch) {
    if batch.attempts > 1,
      let index = recent.firstIndex(where: {
        $0.outcome == .retrying && $0.messages == batch.messages && $0.attempts == batch.attempts - 1
      })
    {
      recent[index] = batch
      return
    }
    recent.insert(batch, at: 0)
    if recent.count > Self.recentBatches { recent.removeLast() }
  }

  mutating func reading() -> StreamReading {
    StreamReading(
      now: now,
      counts: counts,
      openBatches: open.count,
      lastSecond: seconds.last(1).first ?? Second(),
      lastSeconds: seconds.last(StreamReading.seconds).reduce(into: Second(), +=),
      secondsSeen: seconds.last(StreamReading.seconds).count,
      rejectedNow: seconds.current.rejected > 0 || seconds.last(2).contains { $0.rejected > 0 },
      wait: wait.recent(now: now), waitCount: wait.count, waitSum: wait.sum,
      handler: handler.recent(now: now), handlerCount: handler.count, handlerSum: handler.sum,
      failure: failure,
      recent: recent
    )
  }
}
