import Synchronization
import Testing

@testable import Batching

@Suite("Exhaustive: every order of events")
struct ExhaustiveTests {
  private struct Tally {
    var left = Scenario.all.count + KeyedScenario.all.count
    var hasFailed = false
    var states = 0
    var transitions = 0
    var interleavings = 0.0
  }

  private static let tally = Mutex(Tally())
  private static let begin = ContinuousClock.now

  @Test(arguments: Scenario.all)
  func `in every order the machine does what the book says`(_ scenario: Scenario) async {
    await explore(World.self, Stage(scenario))
  }

  @Test(arguments: KeyedScenario.all)
  func `in every order the machine does by key what the book says`(_ scenario: KeyedScenario) async {
    await explore(KeyedWorld.self, KeyedStage(scenario))
  }

  private func explore<Explorable: Explored>(_ type: Explorable.Type, _ stage: Explorable.Stage) async {
    let begin = ContinuousClock.now
    _ = Self.begin
    var explorer = Explorer<Explorable>(stage)
    // Where one case has failed, the others would only take time.
    let outcome = await explorer.run(unless: { Self.tally.withLock { $0.hasFailed } })
    #expect(outcome.failure == nil, "\(outcome.failure ?? "")")
    if outcome.failure != nil { Self.tally.withLock { $0.hasFailed = true } }
    let elapsed = ContinuousClock.now - begin
    print(
      "exhaustive: \(stage): \(outcome.states) states, \(outcome.transitions) transitions,",
      "\(rounded(outcome.interleavings)) interleavings, up to \(outcome.longest) events, \(rounded(elapsed))")
    let total = Self.tally.withLock { tally in
      tally.left -= 1
      tally.states += outcome.states
      tally.transitions += outcome.transitions
      tally.interleavings += outcome.interleavings
      return tally
    }
    if total.left == 0 {
      print(
        "exhaustive: \(Scenario.all.count + KeyedScenario.all.count) cases: \(total.states) states,",
        "\(total.transitions) transitions, \(rounded(total.interleavings)) interleavings,",
        rounded(ContinuousClock.now - Self.begin))
    }
  }

  /// Two digits and a power of ten.
  private func rounded(_ number: Double) -> String {
    guard number >= 1e6 else { return "\(Int(number))" }
    var mantissa = number
    var exponent = 0
    while mantissa >= 10 {
      mantissa /= 10
      exponent += 1
    }
    return "\((mantissa * 10).rounded(.down) / 10)e\(exponent)"
  }

  private func rounded(_ duration: Duration) -> String {
    "\((duration / .milliseconds(100)).rounded() / 10) s"
  }
}
