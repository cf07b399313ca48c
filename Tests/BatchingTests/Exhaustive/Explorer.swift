import Testing

@testable import Batching

/// A machine and all who have to do with it, whose events can be tried in every order.
protocol Explored: AnyObject {
  associatedtype Stage: CustomStringConvertible
  associatedtype Event

  init(_ stage: Stage)
  init(copying other: Self)
  /// All that may happen next.
  func possible() -> [Event]
  /// What may happen next without anybody calling.
  func addInternalEvents(to events: inout [Event])
  /// Whether somebody is between two steps of one call.
  var hasCallsUnderWay: Bool { get }
  /// Lets something happen, and looks whether it was right.
  func happens(_ event: Event)
  /// Nobody calls: all must have come to rest.
  func checkQuiet()
  /// Nothing can happen any more.
  func checkEnd()
  /// All that the future depends on.
  func digest() -> Digest
  /// The first thing that was wrong.
  var violation: String? { get }
  /// What has happened, in words, when it is wanted.
  var story: [String]? { get set }
}

/// What a case has come to.
struct Outcome: Sendable {
  var states = 0
  var transitions = 0
  /// Far too many for an `Int`.
  var interleavings = 0.0
  var longest = 0
  var failure: String?
}

/// Tries every order in which a scenario's events can come.
///
/// Two orders that lead to the same state go on alike from there, so each state is gone on from once. How many orders that
/// stands for is counted on the way back: the orders from a state are those from all the states after it. States are the
/// same when nothing that a later event could see is different; what is left out, and why, is said where digests are made.
/// There is no other reduction: in each state, each event that is possible is tried.
struct Explorer<World: Explored> {
  private struct Frame {
    var world: World?
    let key: Digest
    let events: [World.Event]
    var next = 0
    var interleavings = 0.0
  }

  private let stage: World.Stage
  /// How many orders there are from a state to the end; below zero, while that is not known yet.
  private var known: [Digest: Double] = [:]
  private var frames: [Frame] = []
  private var outcome = Outcome()

  init(_ stage: World.Stage) {
    self.stage = stage
  }

  /// Tries them all, or those that come before `isUseless` says that it need not go on.
  mutating func run(unless isUseless: () -> Bool = { false }) async -> Outcome {
    let world = World(stage)
    if let violation = world.violation {
      outcome.failure = violation
      return outcome
    }
    enter(world, key: world.digest())
    while let last = frames.indices.last, outcome.failure == nil {
      // Other tests want to get on, too.
      if outcome.transitions & 0x3FF == 0 {
        if isUseless() { break }
        await Task.yield()
      }
      let frame = frames[last]
      if frame.next == frame.events.count {
        let paths = frame.events.isEmpty ? 1 : frame.interleavings
        known[frame.key] = paths
        frames.removeLast()
        if frames.isEmpty { outcome.interleavings = paths } else { frames[last - 1].interleavings += paths }
        continue
      }
      frames[last].next += 1
      outcome.transitions += 1
      guard let world = frame.world else { break }
      let next: World
      if frame.next == frame.events.count - 1 {
        frames[last].world = nil
        next = world
      } else {
        next = World(copying: world)
      }
      next.happens(frame.events[frame.next])
      if let violation = next.violation {
        fail(violation)
        break
      }
      let key = next.digest()
      if let paths = known[key] {
        if paths < 0 { fail("the same state again: it can go round for ever") }
        frames[last].interleavings += paths
      } else {
        enter(next, key: key)
      }
    }
    outcome.states = known.count
    return outcome
  }

  private mutating func enter(_ world: World, key: Digest) {
    known[key] = -1
    let events = world.possible()
    frames.append(Frame(world: world, key: key, events: events))
    outcome.longest = max(outcome.longest, frames.count)
    var withoutCalls: [World.Event] = []
    world.addInternalEvents(to: &withoutCalls)
    // Whoever is in the middle of a call goes on, too.
    let isQuiet = withoutCalls.isEmpty && !world.hasCallsUnderWay
    if isQuiet { world.checkQuiet() }
    if events.isEmpty { world.checkEnd() }
    if let violation = world.violation { fail(violation) }
  }

  /// Tells the way to the mistake by going it again.
  private mutating func fail(_ violation: String) {
    let world = World(stage)
    world.story = []
    for frame in frames where frame.next > 0 { world.happens(frame.events[frame.next - 1]) }
    outcome.failure = """
      \(violation)
      in \(stage), after:
      \((world.story ?? []).joined(separator: "\n"))
      """
  }
}

extension World: Explored {
  /// Whether a producer or a flusher is between two steps of one call.
  var hasCallsUnderWay: Bool {
    producers.contains { $0.stage != .calls && $0.stage != .waits } || flushers.contains { $0.stage == .attaches }
  }
}
