import AggregatorStorage
import Foundation
import Synchronization

/// What the admin server shows of the program as it is now.
struct Outlook: Sendable {
  let sink: any Sink
  let journal: Journal?
  let deadLetters: DeadLetters?
  let current: @Sendable () -> ProgramOptions
  /// Whether it is about to end.
  let isDraining: @Sendable () -> Bool
  /// Messages in memory.
  let held: @Sendable () -> Int
  /// Open connections of clients; `nil` where there are no clients.
  var connections: ConnectionCount?
  /// How far it is behind; `nil` where it reads from no log.
  var lag: (@Sendable () -> LogLag)?

  /// What the program says of itself.
  func program() async -> Overview.Program {
    let options = current()
    var program = Overview.Program(
      version: Program.version, source: options.source.description, target: options.target.description,
      settings: Overview.Settings(
        batchSize: options.batchSize, linger: options.linger, concurrency: options.concurrency,
        capacity: options.capacity))
    program.state = isDraining() ? .draining : .running
    program.held = journal == nil ? held() : nil
    program.connections = connections?.current
    program.log = (lag?()).map { Overview.Log($0) }
    if let journal = journal {
      let usage = journal.usage
      let now = Int64(Date().timeIntervalSince1970 * 1_000_000)
      program.journal = Overview.Journal(
        messages: usage.messages, bytes: usage.bytes, maximumBytes: journal.maximumBytes,
        oldestSeconds: usage.oldestReceivedAt.map { max(Double(now - $0) / 1e6, 0) } ?? 0)
    }
    program.deadLetters = try? await deadLetters?.counts().values.reduce(0, +)
    return program
  }

  /// Whether it makes sense to send messages now.
  func readiness() async -> Readiness {
    if isDraining() { return .notReady("draining: it is about to end") }
    if let journal = journal {
      // With a journal a sink that is down is no reason not to send.
      return journal.usage.bytes < journal.maximumBytes
        ? .ready : .notReady("full: the journal has no room (--max-journal)")
    }
    if held() >= current().capacity { return .notReady("full: as many messages are held as may be") }
    let sink = sink
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
