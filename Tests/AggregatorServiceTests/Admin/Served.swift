import AggregatorTestSupport
import HTTPTypes
import HummingbirdTesting
import Logging
import NIOCore
import ServiceLifecycle
import Synchronization
import Testing

@testable import AggregatorService

/// What an admin server shows in a test: meters whose clock the test turns, and what the program says of itself.
final class Served: Sendable {
  struct Said: Sendable {
    var program = Overview.Program(
      version: "1.2.3", source: "http://127.0.0.1:8080", target: "postgres://db/events",
      settings: Overview.Settings(batchSize: 500, linger: .milliseconds(20), concurrency: 4, capacity: 100_000))
    var readiness = Readiness.ready
    var flushes = 0
    var flushError: (any Error)?
    /// How often the program was asked.
    var asked = 0
  }

  private let said = Mutex(Said())
  let clock: HandClock
  let meters: Meters
  let metrics = PrometheusMetrics()

  init() {
    clock = HandClock()
    meters = Meters(clock: clock.clock)
  }

  var now: Said { said.withLock { $0 } }

  func change(_ change: @Sendable (inout Said) -> Void) {
    said.withLock { change(&$0) }
  }

  var feeds: AdminServer.Feeds {
    AdminServer.Feeds(meters: meters, metrics: metrics) {
      self.said.withLock { said in
        said.asked += 1
        return said.program
      }
    } readiness: {
      self.now.readiness
    } flush: {
      try self.said.withLock { said in
        if let error = said.flushError { throw error }
        said.flushes += 1
      }
    }
  }

  /// Runs a server on a free port, or on `port`, while `body` runs, and ends it gracefully.
  func serve(
    port: Int = 0, interval: Duration = .milliseconds(20),
    _ body: (Int, AdminServer) async throws -> Void
  ) async throws {
    var logger = Logger(label: "test")
    logger.logLevel = .critical
    let (ports, listening) = AsyncStream.makeStream(of: Int.self)
    let server = AdminServer(
      host: "127.0.0.1", port: port, feeds: feeds, interval: interval, logger: logger,
      onListening: { listening.yield($0) })
    let group = ServiceGroup(configuration: .init(services: [.init(service: server)], logger: logger))
    try await withThrowingTaskGroup(of: Void.self) { tasks in
      tasks.addTask {
        defer { listening.finish() }
        try await group.run()
      }
      guard let port = await ports.first(where: { _ in true }) else { return try await tasks.waitForAll() }
      do {
        try await body(port, server)
      } catch {
        await group.triggerGracefulShutdown()
        throw error
      }
      await group.triggerGracefulShutdown()
      try await tasks.waitForAll()
    }
  }
}

/// An answer, read whole.
struct Reply {
  var status: Int
  var headers: HTTPFields
  var body: String
}

/// Asks once, on a connection of its own.
func ask(
  _ port: Int, _ path: String, _ method: HTTPRequest.Method = .get, _ headers: HTTPFields = [:],
  host: String? = nil, body: String? = nil
) async throws -> Reply {
  let configuration = TestClient.Configuration(timeout: .seconds(120))
  return try await TestClient.withClient(host: "127.0.0.1", port: port, configuration: configuration) { client in
    let response = try await client.execute(
      TestClient.Request(
        path, method: method, authority: host ?? "127.0.0.1:\(port)", headers: headers,
        body: body.map { ByteBuffer(string: $0) }))
    return Reply(
      status: response.status.code, headers: response.headers, body: String(buffer: response.body ?? ByteBuffer()))
  }
}
