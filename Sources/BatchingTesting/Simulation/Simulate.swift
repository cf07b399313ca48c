import Foundation

/// Runs your handler, and your failure code, in thousands of seeded worlds in which things go wrong.
///
/// In each world the aggregator, the tasks that send, and your code run on one thread, on a virtual clock, in an order that
/// the seed decides; ``Faults`` strike as the seed decides. The promises of the aggregator are checked all the while; what
/// *your* code promises you check at the end of `body`:
///
/// ```swift
/// try await simulate(seeds: 0..<1_000) { simulation in
///   let table = Table()
///   let deadLetters = DeadLetters()
///   let outcome = try await simulation.run(sending: 0..<50, configuration: .init(batchSize: 8, retry: .exponential())) {
///     try await table.insert($0)
///   } onFailure: {
///     await deadLetters.save($0.messages)
///   }
///   for message in outcome.accepted {
///     let copies = await table.count(of: message) + deadLetters.count(of: message)
///     try simulation.require(copies == 1, "message \(message) is there \(copies) times")
///   }
/// }
/// ```
///
/// A failure says its seed and the command that replays it: `BATCHING_SEED=4711 swift test --filter …` runs this one seed,
/// and prints all that happens in it.
///
/// It repeats exactly as long as `body` uses nothing that the simulation does not control: no real clock (use
/// ``Simulation/clock``), no `SystemRandomNumberGenerator` (use ``Simulation/random(in:)``), no order of a `Set` or
/// `Dictionary`, no threads or queues of its own, and no unstructured `Task` without
/// `executorPreference`. Actors are fine.
///
/// - Parameters:
///   - seeds: One world for each. With the environment variable `BATCHING_SEED` only that one, if it is among them.
///   - faults: What may go wrong.
///   - file: Where the call stands.
///   - function: What stands in the command that replays a failure: the test.
///   - body: What happens in a world; called once for each seed.
/// - Returns: How much was tried.
/// - Throws: ``SimulationFailure`` for the first seed that fails; `CancellationError` when the task is cancelled.
@discardableResult
public func simulate(
  seeds: Range<UInt64> = 0..<1_000,
  faults: Faults = .all,
  file: String = #fileID,
  function: String = #function,
  _ body: @escaping @Sendable (Simulation) async throws -> Void
) async throws -> SimulationSummary {
  let replayed = ProcessInfo.processInfo.environment["BATCHING_SEED"].flatMap { UInt64($0) }
  var summary = SimulationSummary()
  for seed in replayed.map({ seeds.clamped(to: $0..<($0 + 1)) }) ?? seeds {
    try Task.checkCancellation()
    let world = World(seed: seed, faults: faults, isTraced: replayed != nil, body)
    let finding = world.live()
    summary.add(world.simulation, steps: world.steps)
    if replayed != nil {
      print("simulation of seed \(seed):")
      for line in world.simulation.traceLines { print("  \(line)") }
    }
    if let finding {
      // Again, with a trace: the first time nobody wanted to read it.
      let again = World(seed: seed, faults: faults, isTraced: true, body)
      _ = again.live()
      throw SimulationFailure(
        seed: seed, finding: finding, trace: again.simulation.traceLines,
        repeats: again.simulation.digest == world.simulation.digest,
        test: function.prefix { $0 != "(" }.description)
    }
    // Others that share this thread go on.
    await Task.yield()
  }
  return summary
}

/// How much a simulation has tried.
public struct SimulationSummary: Sendable, Hashable, CustomStringConvertible {
  /// Worlds, one for each seed.
  public var seeds = 0
  /// Jobs: what tasks did from one suspension to the next.
  public var steps = 0
  /// Messages that were to be sent.
  public var messages = 0
  /// Handler calls.
  public var calls = 0
  /// Virtual time that passed.
  public var time = Duration.zero
  /// A number that stands for all that happened; equal for equal runs.
  public var digest: UInt64 = 0

  mutating func add(_ simulation: Simulation, steps: Int) {
    seeds += 1
    self.steps += steps
    messages += simulation.messageCount
    calls += simulation.callCount
    time += simulation.clock.elapsed
    digest = (digest ^ simulation.digest) &* 0x0000_0100_0000_01B3
  }

  /// All of it in one line.
  public var description: String {
    "\(seeds) seeds, \(messages) messages, \(calls) handler calls, \(steps) steps, \(time.components.seconds) s of virtual "
      + "time, digest \(String(digest, radix: 16))"
  }
}

/// A seed in whose world something went wrong.
public struct SimulationFailure: Error, CustomStringConvertible {
  /// What determines the world.
  public let seed: UInt64
  /// What went wrong.
  public let finding: String
  /// What happened, a line for each event, with the virtual time.
  public let trace: [String]
  /// Whether it went the same way a second time; if not, the body uses something that the simulation does not control.
  public let repeats: Bool
  let test: String

  /// A command for the shell that runs this seed again and prints all that happens.
  public var replayCommand: String { "BATCHING_SEED=\(seed) swift test --filter \(test)" }

  /// The finding, the command that replays it, and the end of the trace.
  public var description: String {
    let shown = trace.suffix(40)
    return """
      seed \(seed): \(finding)
      replay it with: \(replayCommand)
      \(repeats ? "" : "It did not repeat exactly: the body uses something that the simulation does not control.\n")\
      the last \(shown.count) of \(trace.count) events:
        \(shown.joined(separator: "\n  "))
      """
  }
}
