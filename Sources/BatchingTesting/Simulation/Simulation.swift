import Batching
import Foundation

/// One run of a simulation: a virtual clock, a source of randomness, and a deterministic order of all that its tasks do.
///
/// It is made by ``simulate(seeds:faults:file:function:_:)``, which says how to use it.
///
/// `@unchecked Sendable` because all that varies is touched under `lock` alone.
public final class Simulation: @unchecked Sendable {
  /// What determines this run.
  public let seed: UInt64
  /// What may go wrong.
  public let faults: Faults
  /// The virtual clock, which shows zero at the start.
  ///
  /// It moves on when no task can run: to the next deadline that somebody sleeps for. Use it in place of the real clock in
  /// all that the simulation runs, with `clock.sleep(for:)`.
  public let clock = ManualClock()

  let executor: SimulationExecutor
  private let lock = NSLock()
  private var generator: SeededGenerator
  private var jitterGenerator: SeededGenerator
  private var audits: [any Auditing] = []
  private var violations: [String] = []
  private var lines: [String]?
  private var fingerprint: UInt64 = 0xCBF2_9CE4_8422_2325
  private var calls = 0
  private var messages = 0

  init(seed: UInt64, faults: Faults, isTraced: Bool) {
    self.seed = seed
    self.faults = faults
    lines = isTraced ? [] : nil
    var seeds = SeededGenerator(seed: seed)
    executor = SimulationExecutor(seed: seeds.next())
    generator = SeededGenerator(seed: seeds.next())
    jitterGenerator = SeededGenerator(seed: seeds.next())
  }

  // MARK: - For the body

  /// A number in the range, each as likely.
  public func random(in range: ClosedRange<Int>) -> Int {
    lock.withLock { Int.random(in: range, using: &generator) }
  }

  /// `true` with this probability, from 0 to 1.
  public func chance(_ probability: Double) -> Bool {
    lock.withLock { Double.random(in: 0..<1, using: &generator) < probability }
  }

  /// One of the choices, each as likely; there must be one.
  public func pick<Choice>(_ choices: Choice...) -> Choice {
    choices[random(in: 0...(choices.count - 1))]
  }

  /// Lets others go first, or some virtual time pass, or neither.
  public func pause(atMost limit: Duration = .milliseconds(20)) async {
    switch random(in: 0...3) {
    case 0: await Task.yield()
    case 1: try? await clock.sleep(for: limit * Double(random(in: 0...16)) / 16)
    default: break
    }
  }

  /// Writes a line into the trace that is shown when this run fails.
  public func note(_ text: @autoclosure () -> String) {
    trace(.note, 0, text())
  }

  /// Fails this run if the condition does not hold.
  ///
  /// - Throws: ``Unmet``, so that the body ends here; it is reported once.
  public func require(_ condition: Bool, _ message: @autoclosure () -> String) throws {
    if !condition { throw Unmet(message: message()) }
  }

  /// What a failed ``require(_:_:)`` throws.
  public struct Unmet: Error, CustomStringConvertible {
    let message: String

    /// The message that `require` was given.
    public var description: String { message }
  }

  // MARK: - For this module

  func jitter() -> UInt64 {
    lock.withLock { jitterGenerator.next() }
  }

  func nextCall() -> Int {
    lock.withLock {
      calls += 1
      return calls
    }
  }

  var callCount: Int { lock.withLock { calls } }
  var messageCount: Int { lock.withLock { messages } }

  func add(_ audit: some Auditing, messages: Int) {
    lock.withLock {
      audits.append(audit)
      self.messages += messages
    }
  }

  /// Something is wrong; the first finding ends the run.
  func found(_ violation: String) {
    trace(.violation, 0, "WRONG: \(violation)")
    lock.withLock { violations.append(violation) }
  }

  var firstViolation: String? { lock.withLock { violations.first } }

  func checkEachStep() {
    for audit in lock.withLock({ audits }) { audit.afterStep() }
  }

  func checkAtRest() {
    for audit in lock.withLock({ audits }) { audit.atRest() }
  }

  /// Breaks the circle of audits, aggregators, and this.
  func forgetAudits() {
    lock.withLock { audits = [] }
  }

  // MARK: Trace

  enum Event: UInt64 {
    case note, violation, send, sent, call, cancelled, returned, threw, failure, saved, flush, flushed, run, ended
    case shutdown, cancel, time
  }

  /// Notes an event: its kind and number in the fingerprint, the text only when somebody will read it.
  func trace(_ event: Event, _ number: Int, _ text: @autoclosure () -> String) {
    let now = clock.elapsed
    lock.withLock {
      for part in [
        event.rawValue, UInt64(bitPattern: Int64(number)), UInt64(bitPattern: now.components.seconds),
        UInt64(bitPattern: now.components.attoseconds),
      ] {
        fingerprint = (fingerprint ^ part) &* 0x0000_0100_0000_01B3
      }
      // What comes after the first finding is only the way out.
      if lines != nil, violations.isEmpty {
        let milliseconds = String(format: "%.3f", now / .milliseconds(1))
        lines?.append("\(milliseconds) ms  \(text())")
      }
    }
  }

  /// A number that stands for all that has happened (FNV-1a over the events).
  var digest: UInt64 { lock.withLock { fingerprint } }

  var traceLines: [String] { lock.withLock { lines ?? [] } }
}

/// Looks over what an aggregator does in a simulation.
protocol Auditing: Sendable {
  /// A job has run.
  func afterStep()
  /// Nothing can run until time moves on.
  func atRest()
}
