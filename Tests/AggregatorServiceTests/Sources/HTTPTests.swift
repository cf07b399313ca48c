import AggregatorStorage
import AggregatorTestSupport
import HTTPTypes
import Hummingbird
import HummingbirdTesting
import Logging
import NIOCore
import Testing

@testable import AggregatorService

/// The server on a live port, with a sink that the test holds in its hands.
@Suite("HTTP", .timeLimit(.minutes(5)))
struct HTTPTests {
  private let sink = MemorySink()
  private let ledger = Ledger()

  private func serve(
    _ options: ProgramOptions = options { $0.linger = .zero },
    _ test: @escaping @Sendable (any TestClientProtocol, Intake) async throws -> Void
  ) async throws {
    let server = try LiveServer(options, sink: sink, ledger: ledger)
    try await server.serve { try await test($0, server.intake) }
  }

  private static let json: HTTPFields = [.contentType: "application/json"]
  private static let lines: HTTPFields = [.contentType: "application/x-ndjson"]

  private struct Reply: Equatable {
    var status: Int
    var body: String
  }

  private func post(
    _ client: any TestClientProtocol, _ body: String, _ headers: HTTPFields = json, to path: String = "/v1/messages"
  ) async throws -> Reply {
    try await client.execute(uri: path, method: .post, headers: headers, body: ByteBuffer(string: body)) {
      Reply(status: $0.status.code, body: String(buffer: $0.body))
    }
  }

  @Test func `one value, an array and lines are stored, and the number is answered`() async throws {
    try await serve { (client, _) async throws in
      #expect(try await post(client, #"{"a":1}"#) == Reply(status: 200, body: "{\"stored\":1}\n"))
      #expect(try await post(client, "[1, 2]") == Reply(status: 200, body: "{\"stored\":2}\n"))
      #expect(try await post(client, "3\n\n4\r\n5", Self.lines) == Reply(status: 200, body: "{\"stored\":3}\n"))
      #expect(try await post(client, "[]") == Reply(status: 200, body: "{\"stored\":0}\n"))
      #expect(
        try await post(client, "6", [.contentType: "Application/JSON; charset=utf-8"])
          == Reply(status: 200, body: "{\"stored\":1}\n"))
    }
    #expect(sink.batches == [[#"{"a":1}"#], ["1", "2"], ["3", "4", "5"], ["6"]])
    #expect(ledger.current == Ledger.Numbers(messages: 7, batches: 4, failed: 0))
  }

  @Test func `a malformed line is answered with its place, and nothing of the request is stored`() async throws {
    try await serve { (client, _) async throws in
      let reply = try await post(client, "1\n2\n{\"a\":}\n", Self.lines)
      #expect(reply.status == 400)
      #expect(reply.body.contains("line 3, column 6: expected a value, found '}'"))
      #expect(reply.body.contains(#""line":3,"column":6"#))
      #expect(try await post(client, "", Self.lines).status == 400)
      #expect(try await post(client, "").status == 400)
      #expect(try await post(client, "[1,").status == 400)
    }
    #expect(sink.batches == [])
  }

  @Test func `wrong types, methods and paths get the status that they should`() async throws {
    try await serve { (client, _) async throws in
      #expect(try await post(client, "1", [.contentType: "text/plain"]).status == 415)
      #expect(try await post(client, "1", [:]).status == 415)
      #expect(try await post(client, "1", to: "/v1/nothing").status == 404)
      try await client.execute(uri: "/v1/messages", method: .get) { response in
        #expect(response.status == .methodNotAllowed)
        #expect(response.headers[.allow] == "POST")
      }
      try await client.execute(uri: "/livez", method: .get) { #expect($0.status == .ok) }
    }
    #expect(sink.batches == [])
  }

  @Test func `a body that is too large is refused and the connection closed`() async throws {
    try await serve(
      options {
        $0.linger = .zero; $0.maximumBody = 1_000
      }
    ) { (client, _) async throws in
      let exact = "\"" + String(repeating: "x", count: 998) + "\""
      #expect(try await post(client, exact).status == 200)
      let port = try #require(client.port)
      try await TestClient.withClient(host: "127.0.0.1", port: port) { other in
        let response = try await other.post(
          "/v1/messages", headers: Self.json, body: ByteBuffer(repeating: 0x31, count: 1_001))
        #expect(response.status == .contentTooLarge)
        #expect(response.headers[.connection] == "close")
        // The server closes: nothing more can be asked on this connection.
        try await other.getChannel().closeFuture.get()
      }
    }
    #expect(sink.batches.count == 1)
  }

  @Test func `told to go on is who may, and nobody else`() async throws {
    try await serve { (client, _) async throws in
      let port = try #require(client.port)
      func head(_ path: String, _ type: String) -> String {
        "POST \(path) HTTP/1.1\r\nHost: x\r\nContent-Type: \(type)\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n"
      }
      for (path, type, status) in [
        ("/nope", "application/json", "404"), ("/v1/messages", "text/plain", "415"),
      ] {
        let refused = try RawConnection(port: port)
        refused.send(head(path, type))
        let answer = try await refused.receive { $0.contains("\r\n\r\n") }
        #expect(answer.hasPrefix("HTTP/1.1 \(status) "))
      }
      let welcome = try RawConnection(port: port)
      welcome.send(head("/v1/messages", "application/json"))
      let goOn = try await welcome.receive { $0.contains("\r\n\r\n") }
      #expect(goOn.hasPrefix("HTTP/1.1 100 "))
      #expect(sink.batches == [])
      welcome.send("7")
      let answer = try await welcome.receive { $0.contains("stored") }
      #expect(answer.hasPrefix("HTTP/1.1 200 "))
    }
    #expect(sink.batches == [["7"]])
  }

  @Test func `a request that the store refuses fails alone`() async throws {
    sink.shut()
    sink.refuse("666")
    try await serve { (client, intake) async throws in
      let port = try #require(client.port)
      let statuses = try await withThrowingTaskGroup(of: (String, Int).self) { group in
        for message in ["0"] + (660..<670).map({ "\($0)" }) {
          group.addTask {
            try await TestClient.withClient(host: "127.0.0.1", port: port) { other in
              let response = try await other.post(
                "/v1/messages", headers: Self.json, body: ByteBuffer(string: message))
              return (message, response.status.code)
            }
          }
        }
        try await eventually("all are held") { intake.storing.held == 11 && sink.waiting == 1 }
        sink.open()
        return try await group.reduce(into: [:]) { $0[$1.0] = $1.1 }
      }
      #expect(statuses["666"] == 422)
      #expect(statuses.values.count { $0 == 200 } == 10)
    }
    #expect(sink.batches.joined().count == 10)
  }

  @Test func `while it ends, requests are refused for now`() async throws {
    try await serve { (client, intake) async throws in
      #expect(try await post(client, "1").status == 200)
      intake.stopTaking()
      let port = try #require(client.port)
      try await TestClient.withClient(host: "127.0.0.1", port: port) { other in
        let response = try await other.post("/v1/messages", headers: Self.json, body: ByteBuffer(string: "2"))
        #expect(response.status == .serviceUnavailable)
        #expect(response.headers[.retryAfter] == "1")
      }
    }
    #expect(sink.batches == [["1"]])
  }

  @Test func `bytes of bodies have a bound, and come back`() async throws {
    try await serve { (client, intake) async throws in
      #expect(intake.memory.hold(intake.memory.limit - 4))
      #expect(try await post(client, "1234").status == 200)
      let port = try #require(client.port)
      try await TestClient.withClient(host: "127.0.0.1", port: port) { other in
        let response = try await other.post("/v1/messages", headers: Self.json, body: ByteBuffer(string: "12345"))
        #expect(response.status == .serviceUnavailable)
      }
      #expect(try await post(client, "5678").status == 200)
      intake.memory.giveBack(intake.memory.limit - 4)
    }
    #expect(sink.batches == [["1234"], ["5678"]])
  }

  @Test func `many clients share a transaction, and each is answered after it`() async throws {
    sink.shut()
    try await serve { (client, intake) async throws in
      let port = try #require(client.port)
      try await withThrowingTaskGroup(of: Int.self) { group in
        for number in 0..<50 {
          group.addTask {
            try await TestClient.withClient(host: "127.0.0.1", port: port) { other in
              try await other.post("/v1/messages", headers: Self.json, body: ByteBuffer(string: "\(number)")).status
                .code
            }
          }
        }
        // The first batch is at the sink; the others wait for it together.
        try await eventually("a write waits") { sink.waiting == 1 }
        #expect(sink.batches == [])
        try await eventually("all are held") { intake.storing.held == 50 }
        sink.open()
        for try await status in group { #expect(status == 200) }
      }
    }
    #expect(sink.batches.joined().count == 50)
    #expect(Set(sink.batches.joined()) == Set((0..<50).map { "\($0)" }))
    #expect(sink.batches.count <= 3)
  }

  @Test func `a request is stored in one piece, be it larger than a batch`() async throws {
    try await serve(
      options {
        $0.batchSize = 10; $0.linger = .zero
      }
    ) { (client, _) async throws in
      let many = (0..<1_000).map { "\($0)" }
      #expect(
        try await post(client, many.joined(separator: "\n"), Self.lines)
          == Reply(status: 200, body: "{\"stored\":1000}\n"))
      #expect(sink.batches == [many])
    }
  }

  @Test func `more than may be held is refused for now, or for good`() async throws {
    sink.shut()
    try await serve(
      options {
        $0.batchSize = 1; $0.linger = .zero; $0.capacity = 3
      }
    ) { (client, _) async throws in
      let tooMany = try await post(client, "[1,2,3,4]")
      #expect(tooMany.status == 413)
      #expect(tooMany.body.contains("--capacity"))
      let port = try #require(client.port)
      async let first = TestClient.withClient(host: "127.0.0.1", port: port) { other in
        try await other.post("/v1/messages", headers: Self.json, body: ByteBuffer(string: "[1,2]")).status.code
      }
      try await eventually("the first is at the sink") { sink.waiting == 1 }
      try await client.execute(
        uri: "/v1/messages", method: .post, headers: Self.json, body: ByteBuffer(string: "[3,4]")
      ) { response in
        #expect(response.status == .serviceUnavailable)
        #expect(response.headers[.retryAfter] == "1")
      }
      sink.open()
      #expect(try await first == 200)
      #expect(try await post(client, "[3,4]").status == 200)
    }
    #expect(sink.batches == [["1", "2"], ["3", "4"]])
  }

  @Test func `while the sink fails the answer is to come again, and then it goes on`() async throws {
    try await serve { (client, _) async throws in
      sink.fail(SinkError(description: "the disk is full", isRetryable: true))
      let reply = try await post(client, "1")
      #expect(reply.status == 503)
      sink.fail(nil)
      #expect(try await post(client, "2").status == 200)
    }
    #expect(sink.batches == [["2"]])
    #expect(ledger.current == Ledger.Numbers(messages: 1, batches: 1, failed: 1))
  }
}
