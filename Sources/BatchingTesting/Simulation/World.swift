import Foundation

/// One world: its tasks, and the loop that lets them live.
final class World {
  let simulation: Simulation
  private(set) var steps = 0
  private let body: @Sendable (Simulation) async throws -> Void

  /// A world with more steps than this does not come to an end by itself.
  private static let mostSteps = 2_000_000

  init(
    seed: UInt64, faults: Faults, isTraced: Bool, _ body: @escaping @Sendable (Simulation) async throws -> Void
  ) {
    simulation = Simulation(seed: seed, faults: faults, isTraced: isTraced)
    self.body = body
  }

  /// Runs it to its end; returns what was wrong.
  ///
  /// While a task can run, one does. When none can, all that is due at this time has happened, and time moves on.
  func live() -> String? {
    defer { simulation.forgetAudits() }
    let end = Watched<Result<Void, any Error>?>(nil)
    let root = Task(executorPreference: simulation.executor) { [simulation, body] in
      do {
        try await body(simulation)
        end.change { $0 = .success(()) }
      } catch {
        end.change { $0 = .failure(error) }
      }
    }
    var isOver = false
    while !isOver, simulation.firstViolation == nil {
      if simulation.executor.runOne() {
        steps += 1
        simulation.checkEachStep()
        if steps == Self.mostSteps { simulation.found("no end after \(steps) steps") }
        continue
      }
      simulation.checkAtRest()
      guard let result = end.current else {
        if !simulation.clock.advanceToNextDeadline() {
          simulation.found(
            "stuck: nothing can run and nobody sleeps; a task waits for what will not come, or for something that the "
              + "simulation does not control (a real clock, a thread, a queue)")
        }
        continue
      }
      isOver = true
      if case .failure(let error) = result {
        simulation.found(error is Simulation.Unmet ? "\(error)" : "the body threw \(error)")
      } else if let deadline = simulation.clock.deadlines.first {
        simulation.found("a task sleeps on after the end, until \(deadline)")
      }
    }
    if simulation.firstViolation != nil { unwind(root) }
    return simulation.firstViolation
  }

  /// Brings the tasks of a world that failed to their end, as far as they go.
  private func unwind(_ root: Task<Void, Never>) {
    root.cancel()
    for _ in 0..<100_000 {
      if !simulation.executor.runOne(), !simulation.clock.advanceToNextDeadline() { return }
    }
  }
}
