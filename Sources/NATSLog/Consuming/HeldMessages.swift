import AggregatorStorage

/// Messages that a member has taken and not settled; pure.
struct HeldMessages {
  private struct Held {
    var reply: String
    /// When the server last knew that it is being worked on.
    var toldAt: ContinuousClock.Instant
  }

  private var held: [UInt64: Held] = [:]
  private(set) var redelivered = 0

  var count: Int { held.count }

  /// Takes a delivery.
  ///
  /// - Returns: Whether it is new here. One that is held already, because the server has waited too long for its
  ///   acknowledgement, is acknowledged by its last delivery, and not stored a second time.
  mutating func take(sequence: UInt64, reply: String, deliveries: UInt64, now: ContinuousClock.Instant) -> Bool {
    if deliveries > 1 { redelivered += 1 }
    return held.updateValue(Held(reply: reply, toldAt: now), forKey: sequence) == nil
  }

  func contains(_ sequence: UInt64) -> Bool { held[sequence] != nil }

  /// Lets go of messages; returns where the server is told.
  mutating func release(_ messages: [LogMessage]) -> [String] {
    messages.compactMap { held.removeValue(forKey: UInt64(bitPattern: $0.ticket))?.reply }
  }

  /// Lets go of all.
  mutating func releaseAll() -> [String] {
    defer { held = [:] }
    return held.values.map(\.reply)
  }

  /// Messages of which the server has heard nothing since `limit`; it is told now.
  mutating func silent(since limit: ContinuousClock.Instant, now: ContinuousClock.Instant) -> [String] {
    var replies: [String] = []
    for (sequence, message) in held where message.toldAt <= limit {
      held[sequence]?.toldAt = now
      replies.append(message.reply)
    }
    return replies
  }
}
