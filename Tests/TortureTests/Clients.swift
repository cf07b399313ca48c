import AsyncHTTPClient
import Foundation
import NIOCore
import NIOHTTP1
import Synchronization

/// Clients that post messages, each until it is acknowledged, whatever happens meanwhile.
final class Clients: Sendable {
  /// What a client has been told of a message in the end.
  struct Acknowledged: Sendable {
    var identities: [String] = []
    var attempts = 0
    /// How often each status came.
    var statuses: [UInt: Int] = [:]
    /// The longest that an answer took, whatever it said.
    var slowest = Duration.zero
  }

  let port: Int
  private let isStopping = Atomic(false)
  private let acknowledged = Mutex(Acknowledged())
  private let prefersAsync: Bool
  private let prefix: String

  /// Makes clients of the program at `port`, whose messages have identities that begin with `prefix`.
  init(port: Int, prefersAsync: Bool = false, prefix: String = "") {
    self.port = port
    self.prefix = prefix
    self.prefersAsync = prefersAsync
  }

  var result: Acknowledged { acknowledged.withLock { $0 } }

  /// No more messages are begun; each that has been is sent until it is acknowledged.
  func stop() {
    isStopping.store(true, ordering: .relaxed)
  }

  /// Runs so many clients until ``stop()``.
  func run(_ count: Int, streams: [String] = ["messages"]) async throws {
    var configuration = HTTPClient.Configuration()
    configuration.timeout = .init(connect: .seconds(2), read: .seconds(30))
    configuration.connectionPool.concurrentHTTP1ConnectionsPerHostSoftLimit = 128
    try await withClients(0..<count, configuration) { client, http in
      try await self.post(client, to: streams[client % streams.count], http)
    }
  }

  private func post(_ client: Int, to stream: String, _ http: HTTPClient) async throws {
    var number = 0
    while !isStopping.load(ordering: .relaxed) {
      let identity = "\(prefix)\(client)-\(number)"
      // Some requests have several messages, which are stored together.
      let count = number % 7 == 0 ? 3 : 1
      let messages = (0..<count).map { #"{"client":\#(client),"number":\#(number),"part":\#($0)}"# }
      let body = count == 1 ? messages[0] : "[" + messages.joined(separator: ",") + "]"
      try await postUntilAcknowledged(body, identity: identity, stream: stream, http)
      acknowledged.withLock { $0.identities += (0..<count).map { "\(identity)/\($0)" } }
      number += 1
    }
  }

  private func postUntilAcknowledged(
    _ body: String, identity: String, stream: String, _ http: HTTPClient
  ) async throws {
    // An end, so that a program that never answers well fails the test, and does not hang it.
    let end = ContinuousClock.now + .seconds(120)
    while ContinuousClock.now < end {
      var request = HTTPClientRequest(url: "http://127.0.0.1:\(port)/v1/streams/\(stream)/messages")
      request.method = .POST
      request.headers.add(name: "Content-Type", value: "application/json")
      request.headers.add(name: "Idempotency-Key", value: identity)
      if prefersAsync { request.headers.add(name: "Prefer", value: "respond-async") }
      request.body = .bytes(ByteBuffer(string: body))
      acknowledged.withLock { $0.attempts += 1 }
      let began = ContinuousClock.now
      if let response = try? await http.execute(request, timeout: .seconds(40)) {
        let status = response.status.code
        acknowledged.withLock {
          $0.statuses[status, default: 0] += 1
          $0.slowest = max($0.slowest, .now - began)
        }
        if status == 200 || status == 202 { return }
        guard status == 503 else {
          let text = try? await response.body.collect(upTo: 4_096)
          throw ClientError(description: "\(identity): \(status) \(text.map { String(buffer: $0) } ?? "")")
        }
      }
      try await Task.sleep(for: .milliseconds(10))
    }
    throw ClientError(description: "\(identity): not acknowledged within two minutes")
  }
}

struct ClientError: Error, CustomStringConvertible {
  let description: String
}

/// Runs a task for each client, all on one HTTP client, which is shut down at the end.
func withClients(
  _ clients: Range<Int>, _ configuration: HTTPClient.Configuration,
  _ body: @escaping @Sendable (Int, HTTPClient) async throws -> Void
) async throws {
  let http = HTTPClient(configuration: configuration)
  let result: Result<Void, any Error>
  do {
    result = .success(
      try await withThrowingTaskGroup(of: Void.self) { group in
        for client in clients { group.addTask { try await body(client, http) } }
        try await group.waitForAll()
      })
  } catch {
    result = .failure(error)
  }
  try await http.shutdown()
  try result.get()
}
