import Testing

@testable import Batching

/// A small case that is tried in every order: how the machine is set up, and what each actor is going to do.
struct Scenario: Sendable, CustomTestStringConvertible {
  /// One call of a producer; the numbers are the messages' weights.
  enum Call: Sendable {
    case send(Int = 0)
    case trySend(Int = 0)
    case sendMany([Int])
    /// Of a caller that can take it back until its batch has started.
    case request(Int = 0)

    var weights: [Int] {
      switch self {
      case .send(let weight), .trySend(let weight), .request(let weight): [weight]
      case .sendMany(let weights): weights
      }
    }
  }

  enum End: Sendable { case shutdown, cancel }

  /// What sizes and times become while it runs.
  struct Change: Sendable {
    var batchSize: Int
    var capacity: Int
    var workers = 1
    var linger = 2
  }

  var name: String
  var batchSize = 1
  var capacity = 1
  var workers = 1
  var overflow = OverflowPolicy.suspend
  var linger = 2
  var drainTimeout: Int?
  var maximumBatchWeight = Int.max
  var maximumHeldWeight = Int.max

  var producers: [[Call]] = []
  /// Tasks that flush once.
  var flushes = 0
  /// How many of those that wait are cancelled, or take a request back.
  var cancellations = 0
  /// One after the other, at any time.
  var changes: [Change] = []
  /// How many handler calls come to another end than success, and to which.
  var faults = 0
  var faultKinds: [HandlerEnd] = []
  var ends: [End] = [.shutdown]
  /// Whether `run()` is called at any time, or before all else.
  var runsLate = false
  /// Whether slots go on without the lock.
  var hasInbox = false
  /// Whether somebody wants pushed-out messages.
  var savesDrops = true
  /// How often time passes by one before it only passes from deadline to deadline.
  var ticks = 1

  var testDescription: String {
    "\(name): batches of \(batchSize), capacity \(capacity), \(workers) worker(s)"
  }

  var settings: MachineSettings {
    var settings = MachineSettings()
    settings.batchSize = batchSize
    settings.capacity = capacity
    settings.concurrency = workers
    settings.linger = .seconds(linger)
    settings.hasInbox = hasInbox
    settings.dropsOldest = overflow == .dropOldest
    settings.drainTimeout = drainTimeout.map { .seconds($0) }
    settings.maximumBatchWeight = maximumBatchWeight
    settings.maximumHeldWeight = maximumHeldWeight
    settings.canBeWithdrawn = producers.joined().contains { if case .request = $0 { true } else { false } }
    return settings
  }
}

/// How a handler call ends.
enum HandlerEnd: Sendable {
  case handled
  case givenUp
  case retried
  /// The first message is handled, the others are given up, or tried again.
  case partlyGivenUp, partlyRetried
  case halved
}

/// What the worlds of one scenario share, and never changes.
///
/// Messages are numbers: those of producer `p` are `8 * p`, `8 * p + 1`, and so on.
final class Stage: CustomStringConvertible {
  let scenario: Scenario
  let settings: MachineSettings
  let layout = MessageLayout(of: Int.self)
  /// The calls of each producer, as ranges of messages.
  let scripts: [[Range<Int>]]
  let isWeighted: Bool
  /// The memory of parcels: at index `n`, message `n`.
  let messages: UnsafeMutablePointer<Int>
  let weights: UnsafeMutablePointer<Int>

  static let most = 32

  init(_ scenario: Scenario) {
    self.scenario = scenario
    settings = scenario.settings
    isWeighted = settings.isWeighted
    messages = .allocate(capacity: Self.most)
    weights = .allocate(capacity: Self.most)
    for index in 0..<Self.most {
      (messages + index).initialize(to: index)
      (weights + index).initialize(to: 0)
    }
    var scripts: [[Range<Int>]] = []
    for (producer, calls) in scenario.producers.enumerated() {
      var next = producer * 8
      var ranges: [Range<Int>] = []
      for call in calls {
        let range = next..<(next + call.weights.count)
        for (index, weight) in zip(range, call.weights) { weights[index] = weight }
        ranges.append(range)
        next = range.upperBound
      }
      scripts.append(ranges)
    }
    self.scripts = scripts
  }

  deinit {
    messages.deallocate()
    weights.deallocate()
  }

  var description: String { "\(scenario.testDescription), linger \(scenario.linger)" }

  func parcel(_ range: Range<Int>) -> Parcel {
    Parcel(
      base: UnsafeMutableRawPointer(messages + range.lowerBound), count: range.count,
      weights: isWeighted ? weights + range.lowerBound : nil)
  }

  func weight(_ messages: [Int]) -> Int {
    guard isWeighted else { return 0 }
    var sum = 0
    for message in messages { sum += weights[message] }
    return sum
  }
}
