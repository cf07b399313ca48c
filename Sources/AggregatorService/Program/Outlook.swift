import AggregatorStorage
import Foundation
import Synchronization

/// What the admin server shows of the program as it is now.
struct Outlook: Sendable {
  let intake: Intake
  let surroundings: Server.Surroundings
  let current: @Sendable () -> ProgramOptions

  /// What the program says of itself.
  func program() async -> Overview.Program {
    let options = current()
    var program = Overview.Program(
      version: Program.version, source: options.source.description, target: options.target.description,
      settings: Overview.Settings(
        batchSize: options.batchSize, linger: options.linger, concurrency: options.concurrency,
        capacity: options.capacity))
    program.state = intake.isClosing ? .draining : .running
    program.held = surroundings.journal == nil ? intake.storing.held : nil
    program.connections = surroundings.connections.current
    if let journal = surroundings.journal {
      let usage = journal.usage
      let now = Int64(Date().timeIntervalSince1970 * 1_000_000)
      program.journal = Overview.Journal(
        messages: usage.messages, bytes: usage.bytes, maximumBytes: journal.maximumBytes,
        oldestSeconds: usage.oldestReceivedAt.map { max(Double(now - $0) / 1e6, 0) } ?? 0)
    }
    program.deadLetters = try? await surroundings.deadLetters?.counts().values.reduce(0, +)
    return program
  }

  /// Whether it makes sense to send messages now.
  func readiness() async -> Readiness {
    if intake.isClosing { return .notReady("draining: it is about to end") }
    if let journal = surroundings.journal {
      // With a journal a sink that is down is no reason not to send.
      return journal.usage.bytes < journal.maximumBytes
        ? .ready : .notReady("full: the journal has no room (--max-journal)")
    }
    if intake.storing.held >= current().capacity { return .notReady("full: as many messages are held as may be") }
    let sink = surroundings.sink
    let problem = await withTaskGroup(of: String?.self) { group in
      group.addTask {
        do {
          try await sink.check()
          return nil
        } catch {
          return "the store is down: \(error)"
        }
      }
      group.addTask {
        guard (try? await Task.sleep(for: .seconds(3))) != nil else { return nil }
        return "the store is down: it has not answered for 3 s"
      }
      defer { group.cancelAll() }
      return await group.next().flatMap { $0 }
    }
    return problem.map { .notReady($0) } ?? .ready
  }
}
