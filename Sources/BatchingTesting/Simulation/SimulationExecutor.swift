import Foundation

/// Runs everything on one thread, one job at a time, in an order that the seed decides.
///
/// A job is what a task does from one suspension to the next. So each run of a simulation is one interleaving of its tasks,
/// and the same seed gives the same one.
///
/// `@unchecked Sendable` because all that varies is touched under `lock` alone.
final class SimulationExecutor: TaskExecutor, @unchecked Sendable {
  /// Which of the jobs that could run is run next.
  ///
  /// None finds every bug: the uniform one mixes best, the first and the last let one task run far ahead of another.
  private enum Strategy: CaseIterable { case any, mostlyFirst, mostlyLast }

  private let lock = NSLock()
  private var jobs: [UnownedJob] = []
  private var generator: SeededGenerator
  private let strategy: Strategy

  init(seed: UInt64) {
    generator = SeededGenerator(seed: seed)
    strategy = [.any, .any, .mostlyFirst, .mostlyLast].randomElement(using: &generator) ?? .any
  }

  func enqueue(_ job: consuming ExecutorJob) {
    let job = UnownedJob(job)
    lock.withLock { jobs.append(job) }
  }

  /// Runs one job; `false` when there is none.
  func runOne() -> Bool {
    guard let job = lock.withLock({ takeJob() }) else { return false }
    job.runSynchronously(on: asUnownedTaskExecutor())
    return true
  }

  private func takeJob() -> UnownedJob? {
    guard let last = jobs.indices.last else { return nil }
    let isErratic = strategy == .any || generator.next() % 8 == 0
    let index =
      if isErratic {
        Int.random(in: 0...last, using: &generator)
      } else {
        strategy == .mostlyFirst ? 0 : last
      }
    return jobs.remove(at: index)
  }
}
