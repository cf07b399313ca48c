import AggregatorStorage
import AggregatorTestSupport
import HTTPTypes
import Hummingbird
import Logging
import NIOCore
import NIOPosix
import Synchronization

extension SinkFixture {
  static let http = SinkFixture(name: "HTTP") { try await HTTPPlace() }
}

private final class HTTPPlace: SinkPlace {
  private let server: CollectingServer
  /// So that no other test's server gets it.
  private let port = Mutex<HeldPort?>(nil)

  init() async throws {
    server = try await CollectingServer()
  }

  func open() async throws -> any Sink { try HTTPSink(url: "\(server.url)/streams/{stream}?from=test") }

  func stored(_ stream: StreamName) async throws -> [String] { server.stored("\(stream)") }

  func obstruct(_ stream: StreamName) async throws { server.answer(.init(.serviceUnavailable)) }

  func clear(_ stream: StreamName) async throws { server.answer(nil) }

  func takeAway() async throws {
    try await server.end()
    let held = try HeldPort(server.port)
    port.withLock { $0 = held }
  }

  func end() async throws { try await server.end() }
}

/// A server that keeps the lines that are posted to it; with one `Idempotency-Key`, once.
final class CollectingServer: Sendable {
  struct Received: Sendable {
    var uri: String
    var headers: HTTPFields
    var body: String
  }

  struct Reply: Sendable {
    var status: HTTPResponse.Status
    var headers: HTTPFields = [:]
    var body = ""

    init(_ status: HTTPResponse.Status, _ headers: HTTPFields = [:], body: String = "") {
      self.status = status
      self.headers = headers
      self.body = body
    }
  }

  private struct State {
    var requests: [Received] = []
    var stored: [String: [String]] = [:]
    var keys: Set<String> = []
    var reply: Reply?
    var port: Int?
    var running: Task<Void, any Error>?
  }

  private let state = Mutex(State())
  private let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)

  init() async throws {
    let router = Router()
    for path: RouterPath in ["/", "**"] {
      router.post(path) { [weak self] request, _ in
        let body = try await request.body.collect(upTo: 1 << 28)
        guard let self else { return Response(status: .serviceUnavailable) }
        return self.receive(
          Received(uri: request.uri.string, headers: request.headers, body: String(buffer: body)))
      }
    }
    var logger = Logger(label: "test")
    logger.logLevel = .critical
    let application = Application(
      router: router, configuration: .init(address: .hostname("127.0.0.1", port: 0)),
      onServerRunning: { [weak self] channel in self?.state.withLock { $0.port = channel.localAddress?.port } },
      eventLoopGroupProvider: .shared(group), logger: logger)
    state.withLock { $0.running = Task { try await application.run() } }
    try await eventually("the server listens") { state.withLock { $0.port != nil } }
  }

  private func receive(_ received: Received) -> Response {
    state.withLock { state in
      state.requests.append(received)
      if let reply = state.reply {
        return Response(
          status: reply.status, headers: reply.headers, body: .init(byteBuffer: ByteBuffer(string: reply.body)))
      }
      let stream = received.headers[.stream] ?? ""
      if state.keys.insert(received.headers[.idempotencyKey] ?? "").inserted {
        let lines = received.body.split(separator: "\n", omittingEmptySubsequences: false).dropLast().map(String.init)
        state.stored[stream, default: []] += lines
      }
      return Response(status: .ok)
    }
  }

  var port: Int { state.withLock { $0.port ?? 0 } }
  var url: String { "http://127.0.0.1:\(port)" }
  var requests: [Received] { state.withLock { $0.requests } }

  func stored(_ stream: String) -> [String] { state.withLock { $0.stored[stream] ?? [] } }

  /// Gives this answer to each request, and stores nothing; `nil` undoes it.
  func answer(_ reply: Reply?) { state.withLock { $0.reply = reply } }

  /// Ends it, though connections may have come just now.
  ///
  /// Hummingbird must not be cancelled while it takes a connection: NIO's `NIOAsyncWriter` stops the process then. With one
  /// thread connections are taken one after the other, so when the last one has its answer the others have been.
  func end() async throws {
    let running = state.withLock { state in
      defer { state.running = nil }
      return state.running
    }
    guard let running else { return }
    let last = try RawConnection(port: port)
    last.send("GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
    _ = try await last.receive { _ in false }
    running.cancel()
    _ = await running.result
    try await group.shutdownGracefully()
  }
}

extension HTTPField.Name {
  static var stream: Self { Self("Aggregator-Stream") ?? .contentType }
  static var idempotencyKey: Self { Self("Idempotency-Key") ?? .contentType }
}
