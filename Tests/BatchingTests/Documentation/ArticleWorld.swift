import Batching
import BatchingTesting
import ServiceLifecycle

// What the samples of the articles talk about: databases, clients and events that do just enough to see what came of a sample.
extension ArticleSamples {
  struct Event: Sendable, Equatable {
    var number: Int
  }

  struct Change: Sendable {
    var account: String
    var amount: Int
  }

  struct User: Sendable, Equatable {
    var id: Int
  }

  struct DatabaseIsDown: Error {}

  actor Database {
    private(set) var events: [Event] = []
    private(set) var queries: [[Int]] = []

    func insert(_ batch: Batch<Event>) throws {
      events += batch.messages
    }

    func users(_ ids: [Int]) throws -> [Int: User] {
      queries.append(ids)
      return Dictionary(uniqueKeysWithValues: ids.filter { $0 < 100 }.map { ($0, User(id: $0)) })
    }
  }

  actor DeadLetters {
    private(set) var events: [Event] = []

    func save(_ event: Event, because error: any Error) {
      events.append(event)
    }
  }

  /// Says of every second message that there are too many, and handles those that come again.
  actor BulkClient {
    private var seen = 0
    private(set) var sizes: [Int] = []

    func post(_ events: [Event]) throws -> [Int] {
      sizes.append(events.count)
      return events.map { _ in
        seen += 1
        return seen.isMultiple(of: 2) && seen <= 4 ? 429 : 200
      }
    }
  }

  actor Ledger {
    private(set) var balances: [String: Int] = [:]
    private(set) var parked: [String: Int] = [:]

    func apply(_ changes: [Change], to account: String) throws {
      if account == "broken" { throw MessageError.refuse(because: "there is no such account") }
      for change in changes { balances[account, default: 0] += change.amount }
    }

    func park(_ changes: [Change], of account: String) {
      parked[account, default: 0] += changes.count
    }
  }

  actor Store {
    private(set) var rows: [String] = []
    private(set) var kept: [String] = []

    func insert(_ messages: [String]) throws { rows += messages }
    func keep(_ messages: [String], because error: any Error) { kept += messages }
    func rows(_ ids: [Int]) throws -> [String?] { ids.map { $0 < 100 ? "row \($0)" : nil } }
  }

  actor Table {
    private(set) var rows: [Int] = []
    private var kept: [Int] = []

    func insert(_ messages: [Int]) { rows += messages }
    func keep(_ messages: [Int]) { kept += messages }
    func has(_ message: Int) -> Bool { rows.contains(message) || kept.contains(message) }
  }

  /// Waits for the end of the group, and notes it.
  struct NotedService: Service {
    var name: String
    var ends: Watched<[String]>

    func run() async throws {
      try await gracefulShutdown()
      ends.change { $0.append(name) }
    }
  }
}
