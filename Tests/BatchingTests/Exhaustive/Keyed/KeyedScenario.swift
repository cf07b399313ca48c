@testable import Batching

/// A small case by key that is tried in every order.
struct KeyedScenario: Sendable, CustomStringConvertible {
  /// One call of a producer; the numbers are the messages' keys.
  enum Call: Sendable {
    case send(Int)
    case trySend(Int)
    case sendMany([Int])

    var keys: [Int] {
      switch self {
      case .send(let key), .trySend(let key): [key]
      case .sendMany(let keys): keys
      }
    }
  }

  var name: String
  var batchSize = 1
  var capacity = 2
  var workers = 1
  var linger = 0
  var drainTimeout: Int?
  var producers: [[Call]] = []
  var flushes = 0
  /// How many of those that wait are cancelled.
  var cancellations = 0
  /// How many handler calls come to another end than success, and to which.
  var faults = 0
  var faultKinds: [HandlerEnd] = []
  /// How long what is left of a batch backs off.
  var backOff = 1
  var changes: [Scenario.Change] = []
  var ends: [Scenario.End] = [.shutdown]
  /// How often time passes by one before it only passes from deadline to deadline.
  var ticks = 1

  static let keys = 0..<2

  var settings: MachineSettings {
    var settings = MachineSettings()
    settings.batchSize = batchSize
    settings.capacity = capacity
    settings.concurrency = workers
    settings.linger = .seconds(linger)
    settings.drainTimeout = drainTimeout.map { .seconds($0) }
    settings.isKeyed = true
    return settings
  }

  var description: String {
    "\(name): batches of \(batchSize), capacity \(capacity), \(workers) worker(s), linger \(linger)"
  }
}

/// A message that fills a node alone, so that batches are chains.
struct WideMessage: Sendable {
  var number: Int
  var rest: InlineArray<15, Int> = .init(repeating: 0)
}

/// What the worlds of one case share, and never changes.
///
/// Messages are numbers: those of producer `p` are `8 * p`, `8 * p + 1`, and so on.
final class KeyedStage: CustomStringConvertible {
  let scenario: KeyedScenario
  let settings: MachineSettings
  let layout = MessageLayout(of: WideMessage.self)
  /// The calls of each producer, as ranges of messages.
  let scripts: [[Range<Int>]]
  /// The key of each message.
  let keys: [Int]
  /// The memory of parcels: at index `n`, message `n`.
  let messages: UnsafeMutablePointer<WideMessage>
  /// What lanes have in place of keys, which only the world can look into.
  let names = KeyedScenario.keys.map { KeyBox($0) }
  /// Lists of lanes, kept for all worlds.
  private var lists: [[Int]: UnsafeMutablePointer<Int>] = [:]

  init(_ scenario: KeyedScenario) {
    self.scenario = scenario
    settings = scenario.settings
    messages = .allocate(capacity: Stage.most)
    for index in 0..<Stage.most { (messages + index).initialize(to: WideMessage(number: index)) }
    var keys = Array(repeating: 0, count: Stage.most)
    scripts = scenario.producers.enumerated().map { producer, calls in
      var next = producer * 8
      return calls.map { call in
        defer { next += call.keys.count }
        for (offset, key) in call.keys.enumerated() { keys[next + offset] = key }
        return next..<next + call.keys.count
      }
    }
    self.keys = keys
  }

  deinit {
    messages.deallocate()
    for list in lists.values { list.deallocate() }
  }

  var description: String { scenario.description }

  /// The messages of a sender that waits, and the lanes of each.
  func parcel(_ range: Range<Int>, lanes: [Int]) -> Parcel {
    let list = lists[lanes] ?? .allocate(capacity: lanes.count)
    if lists[lanes] == nil {
      for (offset, lane) in lanes.enumerated() { (list + offset).initialize(to: lane) }
      lists[lanes] = list
    }
    return Parcel(
      base: UnsafeMutableRawPointer(messages + range.lowerBound), count: range.count, weights: nil, lanes: list)
  }
}
