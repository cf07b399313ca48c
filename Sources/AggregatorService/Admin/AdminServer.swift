import Hummingbird
package import Logging
import NIOCore
import ServiceLifecycle

/// Where operators look: health, metrics, numbers, and the page.
///
/// It should be the last that ends, so that a drain can be watched: give it to the `ServiceGroup` before the services whose
/// end is to be seen.
package struct AdminServer: Service {
  /// What there is to see, and to do.
  package struct Feeds: Sendable {
    package let meters: Meters
    /// What the program says of itself; asked each time that somebody looks.
    package let program: @Sendable () async -> Overview.Program
    /// Asked by each `GET /readyz`.
    package let readiness: @Sendable () async -> Readiness
    /// Stores all that is held; returns when it is done.
    package let flush: @Sendable () async throws -> Void
    /// The backend of the library's metrics; `nil` when they are not collected.
    package let metrics: PrometheusMetrics?

    package init(
      meters: Meters, metrics: PrometheusMetrics? = nil,
      program: @escaping @Sendable () async -> Overview.Program,
      readiness: @escaping @Sendable () async -> Readiness,
      flush: @escaping @Sendable () async throws -> Void
    ) {
      self.meters = meters
      self.metrics = metrics
      self.program = program
      self.readiness = readiness
      self.flush = flush
    }

    func overview() async -> Overview { Overview(of: meters, program: await program()) }
  }

  private let host: String
  private let port: Int
  private let feeds: Feeds
  private let logger: Logger
  private let onListening: @Sendable (Int) -> Void
  let events: EventFeed

  /// Makes a server that listens once it runs.
  ///
  /// - Parameters:
  ///   - host: an address of this machine. Only on a loopback address are requests for other names refused.
  ///   - port: 0 takes a free one.
  ///   - feeds: what there is to see.
  ///   - interval: how often those who listen to `/v1/events` get one.
  ///   - logger: for what goes wrong.
  ///   - onListening: called with the port once it listens.
  package init(
    host: String, port: Int, feeds: Feeds, interval: Duration = .seconds(1), logger: Logger,
    onListening: @escaping @Sendable (Int) -> Void = { _ in }
  ) {
    self.host = host
    self.port = port
    self.feeds = feeds
    self.logger = logger
    self.onListening = onListening
    events = EventFeed(interval: interval) {
      var event = ByteBuffer(string: "data: ")
      event.writeBytes(try await feeds.overview().json())
      event.writeString("\n\n")
      return event
    }
  }

  /// Serves until a graceful shutdown or its cancellation.
  package func run() async throws {
    let onListening = onListening
    let limits = ConnectionLimits(connections: 1_000, header: .seconds(10), body: .seconds(10), part: 1 << 16)
    let count = ConnectionCount()
    let application = Application(
      responder: AdminResponder(
        feeds: feeds, events: events, requestGuard: RequestGuard(host: host), logger: logger),
      server: .http1(
        configuration: .init(
          additionalChannelHandlers: [ConnectionHandler(limits: limits, count: count)], idleTimeout: .seconds(60))),
      configuration: ApplicationConfiguration(address: .hostname(host, port: port)),
      onServerRunning: { channel in onListening(channel.localAddress?.port ?? 0) },
      logger: logger
    )
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await events.run() }
      // The server ends when its connections have, so those who listen have to be told first.
      try await withGracefulShutdownHandler {
        try await application.run()
      } onGracefulShutdown: {
        events.finish()
      }
      events.finish()
      group.cancelAll()
    }
  }
}
