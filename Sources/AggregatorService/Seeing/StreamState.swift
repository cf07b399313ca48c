/// Which limit binds a stream now, as one word for programs and a sentence for people.
package struct StreamState: Sendable, Hashable, Codable {
  /// The word, from the least to the most severe.
  package enum Kind: String, Sendable, Hashable, Codable, CaseIterable, Comparable {
    /// Nothing is held, and nothing comes.
    case idle
    /// Messages wait for others to share a batch with.
    case filling
    /// Batches are handed over as they come, and the store keeps up.
    case storing
    /// Batches are due and every slot is taken: the store is the limit.
    case waiting
    /// The last attempt failed, and is repeated.
    case backingOff
    /// No more messages are taken.
    case full

    private var severity: Int { Self.allCases.firstIndex(of: self) ?? 0 }

    package static func < (left: Kind, right: Kind) -> Bool { left.severity < right.severity }
  }

  package var kind: Kind
  package var sentence: String
}

extension StreamState {
  /// What is beside the stream itself.
  struct Surroundings: Sendable {
    var settings: Overview.Settings
    /// Messages held of all streams.
    var held = 0
    /// Handler calls that go on, of all streams.
    var openBatches = 0
  }

  /// Judges by the last few seconds rather than by this instant, so that the word does not flicker.
  init(of reading: StreamReading, in surroundings: Surroundings) {
    let settings = surroundings.settings
    let waitsForSlot = Self.waitsForSlot(reading, surroundings)
    if surroundings.held >= settings.capacity || reading.rejectedNow {
      self.init(kind: .full, sentence: Self.full(surroundings))
    } else if reading.backsOff, let failure = reading.failure {
      self.init(kind: .backingOff, sentence: Self.backingOff(failure, now: reading.now))
    } else if waitsForSlot {
      self.init(kind: .waiting, sentence: Self.waiting(reading, settings))
    } else if reading.openBatches > 0 || reading.busy > 0 || reading.counts.held > 0 {
      let isBetween = reading.openBatches == 0 && reading.counts.held > 0
      let fills =
        settings.lingerMilliseconds > 0 && (isBetween || (reading.busy < 0.5 && reading.lastSeconds.batches > 0))
      self.init(
        kind: fills ? .filling : .storing, sentence: fills ? Self.filling(reading, settings) : Self.storing(reading))
    } else {
      self.init(kind: .idle, sentence: "Idle: nothing is held, and nothing has come for some seconds.")
    }
  }

  /// Messages lie there that could go, and no slot takes them; or the slots have had no rest for seconds.
  private static func waitsForSlot(_ reading: StreamReading, _ surroundings: Surroundings) -> Bool {
    let settings = surroundings.settings
    guard reading.waiting > 0 else { return false }
    let slotsTaken = surroundings.openBatches >= settings.concurrency
    if reading.openBatches > 0 || slotsTaken, reading.waiting >= settings.batchSize { return true }
    return slotsTaken && reading.busy >= 0.9 * Double(min(settings.concurrency, max(reading.openBatches, 1)))
  }

  /// What is said of all streams together where none is in trouble: that of one of them would say little of the others.
  static func sentenceOfAll(_ kind: Kind, _ total: StreamReading, _ settings: Overview.Settings) -> String? {
    switch kind {
    case .filling: filling(total, settings)
    case .storing: storing(total)
    case .idle, .waiting, .backingOff, .full: nil
    }
  }

  private static func full(_ surroundings: Surroundings) -> String {
    let held = surroundings.held
    let capacity = surroundings.settings.capacity
    return held >= capacity
      ? "Full: \(grouped(held)) of \(grouped(capacity)) messages are held; new ones are answered 503 until the store has "
        + "caught up."
      : "Full: new messages are being answered 503, because there is no room for them."
  }

  private static func backingOff(_ failure: StreamFailure, now: Duration) -> String {
    let times = failure.streak == 1 ? "the last attempt failed" : "the last \(grouped(failure.streak)) attempts failed"
    let ago = Int((now - failure.at).seconds)
    return "Backing off: \(times), \(ago < 1 ? "just now" : "\(grouped(ago)) s ago"), and it will be tried again: "
      + failure.reason
  }

  private static func waiting(_ reading: StreamReading, _ settings: Overview.Settings) -> String {
    let slots = settings.concurrency == 1 ? "the one slot is" : "all \(grouped(settings.concurrency)) slots are"
    return "Waiting for a slot: \(grouped(reading.waiting)) messages could go and \(slots) storing; "
      + "the store sets the pace."
  }

  private static func filling(_ reading: StreamReading, _ settings: Overview.Settings) -> String {
    var sentence =
      "Filling: a batch goes with \(grouped(settings.batchSize)) messages, or when its first is "
      + "\(shortest(settings.lingerMilliseconds)) ms old"
    let recent = reading.lastSeconds
    if let mean = reading.meanBatch {
      let share = Int((Double(recent.lingered) / Double(recent.batches) * 100).rounded())
      sentence += "; lately \(share) % went by age, with \(grouped(Int(mean.rounded()))) on average"
    }
    return sentence + "."
  }

  private static func storing(_ reading: StreamReading) -> String {
    guard let mean = reading.meanBatch else {
      return "Storing: \(grouped(reading.counts.inFlight)) messages are with the store."
    }
    let share = Int((min(reading.busy, 1) * 100).rounded())
    return "Storing: the store keeps up; \(share) % of the time it has a batch, of "
      + "\(grouped(Int(mean.rounded()))) messages on average."
  }

  /// With a comma between thousands.
  static func grouped(_ number: Int) -> String {
    var digits = String(number.magnitude)
    var end = digits.count - 3
    while end > 0 {
      digits.insert(",", at: digits.index(digits.startIndex, offsetBy: end))
      end -= 3
    }
    return number < 0 ? "-" + digits : digits
  }

  private static func shortest(_ number: Double) -> String {
    number == number.rounded() ? grouped(Int(number)) : "\(number)"
  }
}
