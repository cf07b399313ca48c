import AsyncHTTPClient
import Foundation
import NIOCore
import NIOHTTP1
import Synchronization

/// Clients that post NDJSON bodies, each body until it is acknowledged, and each message with a key and a number that grows
/// by one within its key.
final class BulkClients: Sendable {
  /// Messages of one body.
  static let bodySize = 250
  /// Keys of one client, which no other has.
  static let keys = 25

  private let ports: [Int]
  private let streams: [String]
  private let quota: Int
  private let isStopping = Atomic(false)
  private let counts: Mutex<[Int]>

  /// Makes so many clients, which send to the programs at these ports, to these streams, at least so many messages in all.
  init(_ count: Int, ports: [Int], streams: [String], quota: Int) {
    self.ports = ports
    self.streams = streams
    self.quota = quota
    counts = Mutex(Array(repeating: 0, count: count))
  }

  /// Messages that are acknowledged.
  var acknowledged: Int { counts.withLock { $0.reduce(0, +) } }

  /// No more bodies are begun once all have their quota; each that has been is sent until it is acknowledged.
  func stop() {
    isStopping.store(true, ordering: .relaxed)
  }

  /// How many messages of each key are acknowledged in a stream; `KEY|COUNT`, in order.
  func expected(in stream: String) -> [String] {
    counts.withLock { counts in
      counts.indices.filter { streams[$0 % streams.count] == stream }.flatMap { client in
        (0..<Self.keys).map { "\(client)-\($0)|\(counts[client] / Self.keys)" }
      }
    }.sorted()
  }

  func run() async throws {
    var configuration = HTTPClient.Configuration()
    configuration.timeout = .init(connect: .seconds(2), read: .seconds(60))
    let clients = counts.withLock { $0.indices }
    try await withClients(clients, configuration) { client, http in
      try await self.post(client, of: clients.count, http)
    }
  }

  private func post(_ client: Int, of clients: Int, _ http: HTTPClient) async throws {
    var sent = 0
    while sent * clients < quota || !isStopping.load(ordering: .relaxed) {
      let lines = (sent..<sent + Self.bodySize).map {
        #"{"key":"\#(client)-\#($0 % Self.keys)","number":\#($0 / Self.keys)}"#
      }
      try await postUntilAcknowledged(
        ByteBuffer(string: lines.joined(separator: "\n")), identity: "\(client)-\(sent)", client, http)
      sent += Self.bodySize
      let total = sent
      counts.withLock { $0[client] = total }
    }
  }

  private func postUntilAcknowledged(
    _ body: ByteBuffer, identity: String, _ client: Int, _ http: HTTPClient
  ) async throws {
    // Every stream has clients at every edge.
    let port = ports[client / streams.count % ports.count]
    let end = ContinuousClock.now + .seconds(300)
    while ContinuousClock.now < end {
      var request = HTTPClientRequest(
        url: "http://127.0.0.1:\(port)/v1/streams/\(streams[client % streams.count])/messages")
      request.method = .POST
      request.headers.add(name: "Content-Type", value: "application/x-ndjson")
      request.headers.add(name: "Idempotency-Key", value: identity)
      request.body = .bytes(body)
      if let response = try? await http.execute(request, timeout: .seconds(60)) {
        let text = (try? await response.body.collect(upTo: 4_096)).map { String(buffer: $0) } ?? ""
        if response.status == .ok { return }
        guard response.status == .serviceUnavailable else {
          throw ClientError(description: "\(identity): \(response.status.code) \(text)")
        }
      }
      try await Task.sleep(for: .milliseconds(20))
    }
    throw ClientError(description: "\(identity): not acknowledged within five minutes")
  }
}
