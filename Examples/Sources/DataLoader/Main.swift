// A data loader for a web handler: requests that come together share one query, each gets its own row, and the same row is
// asked for once.
//
//   swift run --package-path Examples DataLoader
//   curl -Z 'http://127.0.0.1:8080/users/[1-9]' http://127.0.0.1:8080/users/1

import Batching
import Hummingbird
import Logging
import ServiceLifecycle

struct User: ResponseCodable, Sendable {
  var id: Int
  var name: String
}

/// Stands for a database: what counts is how often it is asked.
struct Database: Sendable {
  func users(_ ids: [Int]) async throws -> [Int: User] {
    print("SELECT * FROM users WHERE id IN (\(ids.map(String.init).joined(separator: ", ")))")
    try await Task.sleep(for: .milliseconds(20))
    return Dictionary(uniqueKeysWithValues: ids.filter { $0 < 1000 }.map { ($0, User(id: $0, name: "user \($0)")) })
  }
}

@main
struct DataLoader {
  static func main() async throws {
    let database = Database()
    let logger = Logger(label: "data-loader")

    // A query is on its way 2 ms after the first request that needs it, and meanwhile the next one fills.
    let users = try RequestAggregator<Int, User?>(
      name: "users", configuration: .init(batchSize: 100, linger: .milliseconds(2), concurrency: 4), logger: logger,
      deduplicating: true
    ) { ids in
      let found = try await database.users(ids.messages)
      // One answer for each, in their order, also for those that are not there.
      return ids.map { found[$0] }
    }

    let router = Router()
    router.get("/users/:id") { _, context in
      let id = try context.parameters.require("id", as: Int.self)
      guard let user = try await users.send(id) else { throw HTTPError(.notFound) }
      return user
    }
    let server = Application(router: router, configuration: .init(address: .hostname("127.0.0.1", port: 8080)))

    // Services are shut down in the reverse order: first the server, then what its handlers wait for.
    let group = ServiceGroup(
      services: [users, server], gracefulShutdownSignals: [.sigterm, .sigint], logger: logger)
    try await group.run()
  }
}
