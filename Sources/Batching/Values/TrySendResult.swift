/// What became of a message that was offered without waiting.
public enum TrySendResult: Sendable {
  /// The aggregator has it, and it will be settled.
  case accepted
  /// There is no room, or others wait for it already.
  case full
  /// The aggregator has been shut down.
  case closed
  /// The message alone weighs more than a batch, or all that is held, may weigh.
  case tooHeavy
}
