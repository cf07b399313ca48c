import Tracing

/// What is kept beside the messages of a batch, where it is.
struct Annotations: Sendable {
  /// What each weighs; `nil` where nothing is weighed.
  var weights: [Int]?
  /// In which context each was sent; `nil` where handler calls are not linked to senders.
  var contexts: [ServiceContext?]?
}

/// A list of messages on its way to being settled: a batch, or what is left of one.
struct Part<Message: Sendable>: Sendable {
  var messages: [Message]
  /// What each weighs; `nil` where nothing is weighed.
  var weights: [Int]?
  /// In which context each was sent; `nil` where handler calls are not linked to senders.
  var contexts: [ServiceContext?]?
  var trigger: Trigger
  /// Which handler call the next one is for these messages, from 1.
  var attempt = 1
  var sequenceNumber: Int
  /// Whether it is a half: it has one attempt, and a list of its own.
  var isHalf = false
  /// What the last handler call threw.
  var lastError: (any Error)?
  /// What it threw for each message, where it named them.
  var lastErrors: [any Error]?

  var annotations: Annotations { Annotations(weights: weights, contexts: contexts) }

  var weight: Int { weights?.reduce(0, +) ?? 0 }

  var batch: Batch<Message> {
    Batch(messages: messages, trigger: trigger, attempt: attempt, sequenceNumber: sequenceNumber)
  }

  func slice(_ range: Range<Int>) -> Part {
    var part = self
    part.messages = Array(messages[range])
    part.weights = weights.map { Array($0[range]) }
    part.contexts = contexts.map { Array($0[range]) }
    part.lastErrors = lastErrors.map { Array($0[range]) }
    return part
  }

  mutating func append(_ offset: Int, of other: Part) {
    messages.append(other.messages[offset])
    if let weight = other.weights?[offset] { weights?.append(weight) }
    // A message without a context has a place among them, too.
    if let theirs = other.contexts { contexts?.append(theirs[offset]) }
  }

  func failure(_ error: any Error, attempts: Int) -> BatchFailure<Message> {
    BatchFailure(messages: messages, error: error, attempts: attempts, sequenceNumber: sequenceNumber)
  }

  /// The failure of messages that are not tried again, each with what was thrown for it last.
  func failure(_ abort: AbortReason) -> BatchFailure<Message> {
    guard let lastErrors else { return failure(abort.error(over: lastError), attempts: attempt - 1) }
    let items = zip(messages, lastErrors).map {
      BatchFailure<Message>.Item(message: $0, error: abort.error(over: $1))
    }
    return BatchFailure(
      items: items, error: abort.error(over: lastErrors.first), attempts: attempt - 1, sequenceNumber: sequenceNumber)
  }
}

extension Part {
  /// A batch that takes more than one successful handler call.
  init(_ batch: Batch<Message>, _ annotations: Annotations) {
    self.init(
      messages: batch.messages, weights: annotations.weights, contexts: annotations.contexts, trigger: batch.trigger,
      attempt: batch.attempt, sequenceNumber: batch.sequenceNumber)
  }
}
