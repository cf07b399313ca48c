import AggregatorStorage
import AggregatorTestSupport
import CZlib
import Foundation
import GRDB
import HTTPTypes
import Hummingbird
import HummingbirdTesting
import Logging
import NIOCore
import Synchronization
import Testing

@testable import AggregatorService

/// Streams, codings, parts, identities and slow clients, on a live port and a real database.
@Suite("Request bodies", .timeLimit(.minutes(5)))
struct RequestBodyTests {
  private let folder: TemporaryFolder
  private let sink: SQLiteSink

  init() throws {
    folder = try TemporaryFolder()
    sink = try SQLiteSink(path: folder.file("messages.db"))
  }

  private func stored(_ stream: String = "messages") throws -> [String] {
    try DatabaseQueue(path: folder.file("messages.db")).read {
      try String.fetchAll($0, sql: "SELECT body FROM \"\(stream)\" ORDER BY id")
    }
  }

  private func identities(_ stream: String = "messages") throws -> [String?] {
    try DatabaseQueue(path: folder.file("messages.db")).read {
      try Optional<String>.fetchAll($0, sql: "SELECT identity FROM \"\(stream)\" ORDER BY id")
    }
  }

  private func serve(
    _ options: ProgramOptions = ProgramOptions(),
    _ test: @escaping @Sendable (any TestClientProtocol) async throws -> Void
  ) async throws {
    try await LiveServer(options, sink: sink).serve(test)
  }

  private static let json: HTTPFields = [.contentType: "application/json"]
  private static let lines: HTTPFields = [.contentType: "application/x-ndjson"]

  private static func coded(_ coding: String, _ headers: HTTPFields = json) -> HTTPFields {
    var headers = headers
    headers[.contentEncoding] = coding
    return headers
  }

  private struct Reply: Equatable {
    var status: Int
    var body: String
  }

  private func post(
    _ client: any TestClientProtocol, _ body: ByteBuffer, _ headers: HTTPFields = json, to path: String = "/v1/messages"
  ) async throws -> Reply {
    try await client.execute(uri: path, method: .post, headers: headers, body: body) {
      Reply(status: $0.status.code, body: String(buffer: $0.body))
    }
  }

  private func post(
    _ client: any TestClientProtocol, _ body: String, _ headers: HTTPFields = json, to path: String = "/v1/messages"
  ) async throws -> Reply {
    try await post(client, ByteBuffer(string: body), headers, to: path)
  }

  /// Coded by zlib: 31 for gzip, 15 for zlib's own format, -15 for bare deflate data.
  private func coded(_ text: String, windowBits: Int32) -> ByteBuffer {
    var stream = z_stream()
    _ = CZlib_deflateInit2(&stream, 6, windowBits)
    defer { deflateEnd(&stream) }
    var input = Array(text.utf8)
    var output = [UInt8](repeating: 0, count: input.count + 1_024)
    let written = input.withUnsafeMutableBufferPointer { input in
      output.withUnsafeMutableBufferPointer { output in
        stream.next_in = input.baseAddress
        stream.avail_in = UInt32(input.count)
        stream.next_out = output.baseAddress
        stream.avail_out = UInt32(output.count)
        _ = deflate(&stream, Z_FINISH)
        return output.count - Int(stream.avail_out)
      }
    }
    return ByteBuffer(bytes: output[..<written])
  }

  // MARK: Streams

  @Test func `each stream has a table of its own`() async throws {
    try await serve { (client) async throws in
      #expect(try await post(client, "1", to: "/v1/streams/orders/messages").status == 200)
      #expect(try await post(client, "[2, 3]", to: "/v1/streams/clicks-2/messages").status == 200)
      #expect(try await post(client, "4").status == 200)
    }
    #expect(try stored("orders") == ["1"])
    #expect(try stored("clicks-2") == ["2", "3"])
    #expect(try stored() == ["4"])
  }

  @Test(arguments: [
    "Orders", "1a", "a;drop", "a%22b", "..", "sqlite_x", "a/b", "", String(repeating: "a", count: 49),
    "a%20b", "x\"; DROP TABLE messages; --".addingPercentEncoding(withAllowedCharacters: .alphanumerics) ?? "",
  ])
  func `names that are none are refused, and make nothing`(name: String) async throws {
    try await serve { (client) async throws in
      let reply = try await post(client, "1", to: "/v1/streams/\(name)/messages")
      #expect(reply.status == 404)
      #expect(reply.body.contains("error"))
    }
    let tables = try await DatabaseQueue(path: folder.file("messages.db")).read {
      try String.fetchAll($0, sql: "SELECT name FROM sqlite_schema")
    }
    #expect(tables == [])
  }

  @Test func `the number of streams is bounded, and a malformed request takes no place`() async throws {
    try await serve(options { $0.maximumStreams = 3 }) { (client) async throws in
      #expect(try await post(client, "{", to: "/v1/streams/x/messages").status == 400)
      #expect(try await post(client, "[]", to: "/v1/streams/y/messages").status == 200)
      for name in ["a", "b"] {
        #expect(try await post(client, "1", to: "/v1/streams/\(name)/messages").status == 200)
      }
      let reply = try await post(client, "1", to: "/v1/streams/c/messages")
      #expect(reply.status == 403)
      #expect(reply.body.contains("--max-streams"))
      #expect(try await post(client, "2", to: "/v1/streams/a/messages").status == 200)
      #expect(try await post(client, "3").status == 200)
    }
  }

  // MARK: Codings

  @Test(
    arguments: [("gzip", 31), ("x-gzip", 31), ("deflate", 15), ("deflate", -15), ("GZIP", 31)] as [(String, Int32)])
  func `coded bodies are inflated`(name: String, windowBits: Int32) async throws {
    let messages = (0..<5_000).map { "{\"number\":\($0)}" }
    try await serve { (client) async throws in
      let headers = Self.coded(name, Self.lines)
      let reply = try await post(client, coded(messages.joined(separator: "\n"), windowBits: windowBits), headers)
      #expect(reply == Reply(status: 200, body: "{\"stored\":5000}\n"))
    }
    #expect(try stored().elementsEqual(messages))
  }

  @Test func `several gzip members are one body`() async throws {
    try await serve { (client) async throws in
      var body = coded("[1,", windowBits: 31)
      body.writeImmutableBuffer(coded("2]", windowBits: 31))
      let headers = Self.coded("gzip")
      #expect(try await post(client, body, headers).status == 200)
    }
    #expect(try stored() == ["1", "2"])
  }

  @Test func `a bomb is refused before it goes off, and what is no gzip is said to be none`() async throws {
    try await serve(options { $0.maximumInflatedBody = 1 << 20 }) { (client) async throws in
      let headers = Self.coded("gzip")
      let bomb = coded("\"" + String(repeating: "x", count: 40 << 20) + "\"", windowBits: 31)
      #expect(bomb.readableBytes < 100_000)
      let reply = try await TestClient.withClient(host: "127.0.0.1", port: try #require(client.port)) {
        let response = try await $0.post("/v1/messages", headers: headers, body: bomb)
        return Reply(status: response.status.code, body: String(buffer: response.body ?? ByteBuffer()))
      }
      #expect(reply.status == 413)
      #expect(reply.body.contains("--max-inflated-body"))
      for body in [
        ByteBuffer(string: "not gzip"), coded("[1,2]", windowBits: 31).getSlice(at: 0, length: 12) ?? ByteBuffer(),
      ] {
        let reply = try await TestClient.withClient(host: "127.0.0.1", port: try #require(client.port)) {
          try await $0.post("/v1/messages", headers: headers, body: body).status.code
        }
        #expect(reply == 400)
      }
      #expect(try await post(client, "1", Self.coded("br")).status == 415)
    }
    #expect(throws: DatabaseError.self) { _ = try stored() }
  }

  // MARK: Parts

  @Test func `lines beyond the limit of a body are stored part by part`() async throws {
    let messages = (0..<20_000).map { "{\"number\":\($0)}" }
    try await serve(
      options {
        $0.maximumBody = 10_000; $0.maximumMessage = 5_000
      }
    ) { (client) async throws in
      let reply = try await post(client, messages.joined(separator: "\n"), Self.lines)
      #expect(reply == Reply(status: 200, body: "{\"stored\":20000}\n"))
    }
    #expect(try stored().elementsEqual(messages))
  }

  @Test func `what goes wrong half-way says how much is stored, and in which line it was`() async throws {
    let messages = (0..<20_000).map { $0 == 15_000 ? "{" : "{\"number\":\($0)}" }
    let answered = Mutex(0)
    try await serve(
      options {
        $0.maximumBody = 10_000; $0.maximumMessage = 5_000
      }
    ) { (client) async throws in
      let reply = try await post(client, messages.joined(separator: "\n"), Self.lines)
      #expect(reply.status == 400)
      #expect(reply.body.contains("line 15001, column 2"))
      let match = try #require(reply.body.firstMatch(of: /"stored":(\d+)/))
      answered.withLock { $0 = Int(match.1) ?? 0 }
    }
    let stored = answered.withLock { $0 }
    #expect(stored > 10_000 && stored <= 15_000)
    #expect(try self.stored().elementsEqual(messages[..<stored]))
  }

  @Test func `a message that is too large is refused, in a line that never ends too`() async throws {
    try await serve(
      options {
        $0.maximumBody = 20_000; $0.maximumMessage = 1_000
      }
    ) { (client) async throws in
      let port = try #require(client.port)
      for (body, words) in [
        ("1\n\"\(String(repeating: "x", count: 1_000))\"", "line 2, column 1: the message has 1002 bytes"),
        ("1\n\(String(repeating: "x", count: 100_000))", "line"),
        (String(repeating: "x", count: 100_000), "line 1, column 1: the line is longer"),
      ] {
        let reply = try await TestClient.withClient(host: "127.0.0.1", port: port) {
          let response = try await $0.post("/v1/messages", headers: Self.lines, body: ByteBuffer(string: body))
          return Reply(status: response.status.code, body: String(buffer: response.body ?? ByteBuffer()))
        }
        #expect(reply.status == 413 || reply.status == 400)
        #expect(reply.body.contains(words), "\(reply.body)")
      }
    }
  }

  // MARK: Identities

  @Test func `a request with a key is stored once, however often it is sent`() async throws {
    try await serve { (client) async throws in
      var headers = Self.json
      headers[.idempotencyKey] = "\"order-7\""
      for _ in 0..<3 {
        #expect(try await post(client, "[1, 2]", headers) == Reply(status: 200, body: "{\"stored\":2}\n"))
      }
      headers[.idempotencyKey] = "order-8"
      #expect(try await post(client, "[1, 2]", headers).status == 200)
      headers[.idempotencyKey] = "two words"
      #expect(try await post(client, "3", headers).status == 400)
      #expect(try await post(client, "4").status == 200)
      #expect(try await post(client, "4").status == 200)
    }
    #expect(try identities() == ["order-7/0", "order-7/1", "order-8/0", "order-8/1", nil, nil])
  }

  @Test func `identities count over all parts of a body`() async throws {
    let messages = (0..<3_000).map { "{\"number\":\($0)}" }
    try await serve(
      options {
        $0.maximumBody = 10_000; $0.maximumMessage = 5_000
      }
    ) { (client) async throws in
      var headers = Self.lines
      headers[.idempotencyKey] = "k"
      for _ in 0..<2 {
        #expect(try await post(client, messages.joined(separator: "\n"), headers).status == 200)
      }
    }
    #expect(try stored().elementsEqual(messages))
    #expect(try identities().last == "k/2999")
  }

  @Test func `a member of the message can be its identity`() async throws {
    try await serve(options { $0.identityField = "id" }) { (client) async throws in
      let body = #"[{"id":"a"},{"x":{"id":3},"id":7,"y":1},{"id":"a","again":true},{"i\u0064":"\u0062"}]"#
      #expect(try await post(client, body) == Reply(status: 200, body: "{\"stored\":4}\n"))
      for wrong in [#"{"x":1}"#, #"{"id":null}"#, #"{"id":""}"#, "7", #"{"id":{}}"#, #"{"id":"\ud800"}"#] {
        let reply = try await post(client, wrong)
        #expect(reply.status == 400)
        #expect(reply.body.contains("--id-field"))
      }
    }
    #expect(try identities() == ["a", "7", "b"])
    #expect(try stored().first == #"{"id":"a"}"#)
  }

  // MARK: Preferences

  @Test func `without a journal a preference for an early answer is passed over`() async throws {
    try await serve { (client) async throws in
      var headers = Self.json
      headers[.prefer] = "respond-async"
      #expect(try await post(client, "1", headers) == Reply(status: 200, body: "{\"stored\":1}\n"))
    }
  }

  @Test func `preferences`() {
    #expect(Preference(nil) == Preference(""))
    #expect(Preference("respond-async, wait=5").respondsAsync)
    #expect(Preference("wait=\"5\"; x=y , Respond-Async").wait == .seconds(5))
    #expect(Preference("wait=-1").wait == nil)
    #expect(Preference("return=minimal").respondsAsync == false)
  }

  // MARK: Slow clients

  /// The other rules about time are tried in `ConnectionHandlerTests`.
  @Test func `a client that is slow with its body is told, and others are served`() async throws {
    try await serve(options { $0.bodyTimeout = .milliseconds(500) }) { (client) async throws in
      let port = try #require(client.port)
      let body = try RawConnection(port: port)
      body.send(
        "POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n[1,")
      let answer = try await body.receive { _ in false }
      #expect(answer.hasPrefix("HTTP/1.1 408 "), "\(answer)")
      #expect(answer.contains("--body-timeout"))
      // Others are served as before.
      let status = try await TestClient.withClient(host: "127.0.0.1", port: port) {
        try await $0.post("/v1/messages", headers: Self.json, body: ByteBuffer(string: "1")).status.code
      }
      #expect(status == 200)
    }
  }
}
