// Batches by tenant: each tenant's events in its own batches and in order; one whose store is down waits for itself alone.
//
//   swift run --package-path Examples ByTenant

import Batching
import Synchronization

struct Event: Sendable {
  var tenant: String
  var number: Int
}

/// The store of one tenant is down for its first two calls.
final class Stores: Sendable {
  struct Down: Error {}

  private let calls = Mutex<[String: Int]>([:])

  func append(_ numbers: [Int], to tenant: String) async throws {
    let call = calls.withLock { calls in
      calls[tenant, default: 0] += 1
      return calls[tenant, default: 0]
    }
    if tenant == "acme", call <= 2 {
      print("acme is down, \(numbers) will be tried again")
      throw Down()
    }
    print("\(tenant) has \(numbers)")
  }
}

@main
struct ByTenant {
  static func main() async throws {
    let stores = Stores()
    let events = try KeyedAggregator<String, Event>(
      configuration: .init(
        batchSize: 3, linger: .milliseconds(10), concurrency: 2, capacity: 100,
        retry: .exponential(initial: .milliseconds(50))), key: \.tenant
    ) { tenant, batch in
      try await stores.append(batch.map(\.number), to: tenant)
    } onFailure: { tenant, failure in
      print("\(tenant) has lost \(failure.messages.map(\.number)): \(failure.error)")
    }

    async let running: Void = events.run()
    for number in 1...7 {
      for tenant in ["acme", "globex", "initech"] { try await events.send(Event(tenant: tenant, number: number)) }
    }
    events.shutdown()
    try await running
    print("\(events.statistics.handled) events handled")
  }
}
