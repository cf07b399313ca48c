// An HTTP server that counts page views. Each request hands over one message, which costs it nothing to speak of; the
// "database" gets them by the hundred.
//
//   swift run --package-path Examples WithServiceGroup
//   curl -X POST http://127.0.0.1:8081/views/start

import Batching
import Hummingbird
import Logging
import ServiceLifecycle

struct View: Sendable {
  var page: String
}

@main
struct WithServiceGroup {
  static func main() async throws {
    let logger = Logger(label: "views")

    let aggregator = try Aggregator<View>(
      name: "views",
      configuration: .init(batchSize: 100, linger: .seconds(1), retry: .exponential(maximumAttempts: 5)),
      logger: logger
    ) { batch in
      // Here you would write to your database, in one transaction.
      print("storing \(batch.count) views, due by \(batch.trigger)")
    } onFailure: { failure in
      print("giving up \(failure.messages.count) views: \(failure.error)")
    }

    let router = Router()
    router.post("views/:page") { _, context -> HTTPResponse.Status in
      let page = try context.parameters.require("page")
      // `trySend` never waits: when too much is held, the client hears of it.
      return aggregator.trySend(View(page: page)) == .accepted ? .accepted : .serviceUnavailable
    }
    let server = Application(
      router: router, configuration: .init(address: .hostname("127.0.0.1", port: 8081)), logger: logger)

    // The order matters: a group stops its services from the last to the first. The server stops taking requests before
    // the aggregator is shut down, so no request finds it closed, and what they sent is settled before `run()` returns.
    let group = ServiceGroup(
      services: [aggregator, server], gracefulShutdownSignals: [.sigint, .sigterm], logger: logger)
    try await group.run()
    print("handled \(aggregator.statistics.handled) of \(aggregator.statistics.accepted) views")
  }
}
