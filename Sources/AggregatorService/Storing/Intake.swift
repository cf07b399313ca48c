import AggregatorStorage
import Synchronization

/// Where requests enter: what may be taken now, and which streams there are.
final class Intake: Sendable {
  let storing: any Storing
  let meters: Meters
  let memory = HeldBytes()
  let maximumStreams: Int
  private let currentCapacity: Atomic<Int>
  private let streams: Mutex<Set<StreamName>>
  private let closing = Atomic(false)

  /// Makes one that knows `streams` from the start, whatever the limit.
  init(storing: any Storing, meters: Meters, options: ProgramOptions, streams: Set<StreamName> = []) {
    self.storing = storing
    self.meters = meters
    currentCapacity = Atomic(options.capacity)
    maximumStreams = options.maximumStreams
    self.streams = Mutex(streams.union([options.stream]))
  }

  /// The most messages of a request.
  var capacity: Int { currentCapacity.load(ordering: .relaxed) }

  /// The parts in which lines are stored: one, unless they are more than can be held.
  func parts(of messages: [Message]) -> [ArraySlice<Message>] {
    let capacity = capacity
    guard messages.count > capacity else { return [messages[...]] }
    // A quarter leaves room for others.
    let part = max(capacity / 4, 1)
    return stride(from: 0, to: messages.count, by: part).map { messages[$0..<min($0 + part, messages.count)] }
  }

  /// Changes what can be changed while it runs.
  func reconfigure(_ options: ProgramOptions) throws {
    try storing.reconfigure(options)
    currentCapacity.store(options.capacity, ordering: .relaxed)
  }

  /// No more requests are taken; those that were taken are stored.
  func stopTaking() {
    closing.store(true, ordering: .relaxed)
  }

  var isClosing: Bool { closing.load(ordering: .relaxed) }

  /// Whether a stream is one of those that are known, or may become one.
  func admits(_ stream: StreamName) -> Bool {
    streams.withLock { $0.contains(stream) || $0.count < maximumStreams }
  }

  /// Stores the messages of a request; returns when it is known what has become of them.
  func store(_ messages: [Message], in stream: StreamName, acknowledge: Acknowledgement) async -> Outcome {
    guard !messages.isEmpty else { return .stored }
    guard !isClosing else { return .closing }
    // Only now: a name in a request that has no messages, or malformed ones, takes no place.
    let isKnown = streams.withLock { streams in
      if !streams.contains(stream), streams.count >= maximumStreams { return false }
      streams.insert(stream)
      return true
    }
    guard isKnown else { return .full("there are as many streams as may be (--max-streams)") }
    let outcome = await storing.store(messages, in: stream, acknowledge: acknowledge)
    switch outcome {
    case .full, .closing: meters.meter(for: stream).rejected(messages: messages.count)
    default: break
    }
    return outcome
  }

  /// In how many seconds a client should come again: when what is held now will have been stored, at the rate of late.
  func retryAfter(_ stream: StreamName) -> Int {
    let reading = meters.meter(for: stream).reading()
    let rate = reading.perSecond(\.stored)
    guard rate > 0 else { return 1 }
    return min(max(Int((Double(reading.counts.held) / rate).rounded(.up)), 1), 60)
  }
}
