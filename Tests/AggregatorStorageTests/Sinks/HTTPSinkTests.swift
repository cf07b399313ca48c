import AggregatorTestSupport
import Foundation
import HTTPTypes
import Hummingbird
import Testing

@testable import AggregatorStorage

@Suite("HTTP sink", .timeLimit(.minutes(5)))
struct HTTPSinkTests {
  private func withServer(_ body: (CollectingServer) async throws -> Void) async throws {
    let server = try await CollectingServer()
    do {
      try await body(server)
    } catch {
      try? await server.end()
      throw error
    }
    try await server.end()
  }

  private func withSink(
    _ url: String, authorization: String? = nil, requestTimeout: Duration = .seconds(60),
    _ body: (HTTPSink) async throws -> Void
  ) async throws {
    let sink = try HTTPSink(url: url, authorization: authorization, requestTimeout: requestTimeout)
    do {
      try await body(sink)
    } catch {
      try? await sink.close()
      throw error
    }
    try await sink.close()
  }

  /// The error of one batch of two messages that hold a secret.
  private func failure(_ sink: HTTPSink, count: Int = 2) async -> SinkError? {
    let bodies = (0..<count).map { "\"secret \($0)\"" }
    let error = await #expect(throws: SinkError.self) { try await sink.write(messages(bodies), to: .messages) }
    #expect(error?.description.contains("secret") == false)
    return error
  }

  // MARK: What is sent

  @Test func `a batch is a POST of lines, with its stream and its key`() async throws {
    try await withServer { server in
      try await withSink("\(server.url)/in/{stream}/rows?stream=%7Bstream%7D&a=%20b&key={key}") { sink in
        try await sink.write(messages(["1", "{\n\"a\":2}"]), to: try StreamName("s-1"))
      }
      let request = try #require(server.requests.first)
      let key = try #require(request.headers[.idempotencyKey])
      #expect(key.count == 64)
      #expect(request.uri == "/in/s-1/rows?stream=s-1&a=%20b&key=\(key)")
      #expect(request.body == "1\n{ \"a\":2}\n")
      #expect(request.headers[.contentType] == "application/x-ndjson")
      #expect(request.headers[.stream] == "s-1")
      #expect(request.headers[.authorization] == nil)
      #expect(server.requests.count == 1)
    }
  }

  @Test(arguments: ["{stream}", "%7Bstream%7D", "%7bstream%7d"])
  func `ClickHouse's form works`(placeholder: String) async throws {
    try await withServer { server in
      try await withSink("\(server.url)/?query=INSERT%20INTO%20\(placeholder)%20FORMAT%20JSONEachRow") { sink in
        try await sink.write(messages(["{\"a\":1}"]), to: .messages)
      }
      #expect(server.requests.first?.uri == "/?query=INSERT%20INTO%20messages%20FORMAT%20JSONEachRow")
    }
  }

  @Test func `a URL without a path, and one with spaces, are taken`() async throws {
    try await withServer { server in
      try await withSink("\(server.url)?query=INSERT INTO {stream} FORMAT JSONEachRow") { sink in
        try await sink.write(messages(["1"]), to: .messages)
      }
      #expect(server.requests.first?.uri == "/?query=INSERT%20INTO%20messages%20FORMAT%20JSONEachRow")
    }
  }

  @Test func `user and password become Basic authorisation, and are seen nowhere else`() async throws {
    try await withServer { server in
      let address = "127.0.0.1:\(server.port)/in?token=hidden"
      try await withSink("http://us%40er:p%3A:a@s%25%C3%A9@\(address)") { sink in
        try await sink.write(messages(["1"]), to: .messages)
        server.answer(.init(.internalServerError))
        let error = await failure(sink)
        #expect(error?.description == "http://127.0.0.1:\(server.port)/in: answered 500 Internal Server Error")
        server.answer(nil)
      }
      #expect(server.requests[0].uri == "/in?token=hidden")
      let value = try #require(server.requests[0].headers[.authorization])
      let data = try #require(Data(base64Encoded: String(value.trimmingPrefix("Basic "))))
      #expect(String(decoding: data, as: UTF8.self) == "us@er:p::a@s%é")

      try await withSink("http://\(address)", authorization: "Bearer abc") { sink in
        try await sink.write(messages(["1"]), to: .messages)
      }
      #expect(server.requests.last?.headers[.authorization] == "Bearer abc")
    }
  }

  @Test(arguments: [
    ("ftp://hidden@host/", "no address of a server"), ("http://", "no address of a server"),
    ("http://user:hidden@/path", "no address of a server"), ("http://host:99999/", "no address of a server"),
    ("http://{stream}.host/", "no address of a server"), ("http://host/a?hidden#b", "write %23"),
    ("http://user:hid%zzden@host/", "cannot be read"), ("http://us%3Aer:hidden@host/", "without ':'"),
  ])
  func `an address that is none is refused, and shows no secret`(url: String, words: String) {
    #expect(
      performing: { try HTTPSink(url: url) },
      throws: { "\($0)".contains(words) && !"\($0)".contains("hid") && $0 is ProgramError })
  }

  @Test func `an authorisation that cannot be sent, or is given twice, is refused`() {
    #expect(
      performing: { try HTTPSink(url: "http://host/", authorization: "Bearer hidden\n") },
      throws: { "\($0)".contains("line break") && !"\($0)".contains("hidden") })
    #expect(
      performing: { try HTTPSink(url: "http://user:hidden@host/", authorization: "Bearer hidden") },
      throws: { "\($0)".contains("give one of them") && !"\($0)".contains("hidden") })
  }

  // MARK: Keys

  @Test func `the key is that of the messages: the same for the same, after a restart too, and no other's`() throws {
    let other = try StreamName("other")
    func message(_ body: String, _ time: Int64, _ identity: String? = nil) -> Message {
      Message(body: body, receivedAt: time, identity: identity)
    }
    let list = [message("1", 7), message("2", 8)]
    // Written down, so that a later version keeps them.
    #expect(
      BatchKey.key(list, stream: .messages) == "1163af1a95a2ba91343aee44c00cafe14187dffdb7e15b7d2b6937bdfcaf6020")
    #expect(
      BatchKey.key([message("1", 7, "a")], stream: .messages) == BatchKey.key([message("2", 8, "a")], stream: .messages)
    )
    let lists = [
      list, list.reversed(), [list[0]], [message("1", 7), message("2", 9)], [message("12", 7), message("", 8)],
      [message("1", 7, "a")], [message("1", 7, "7")], [message("1", 7, "a"), message("1", 7, "b")],
      [message("1", 7, "ab")],
    ]
    #expect(
      Set(lists.flatMap { [BatchKey.key($0, stream: .messages), BatchKey.key($0, stream: other)] }).count == 2
        * lists.count)
  }

  @Test func `a batch whose answer was lost is stored once`() async throws {
    try await withServer { server in
      let batch = messages(["1", "2"])
      for _ in 0..<3 {
        try await withSink(server.url) { try await $0.write(batch, to: .messages) }
      }
      #expect(server.stored("messages") == ["1", "2"])
      #expect(Set(server.requests.map { $0.headers[.idempotencyKey] }).count == 1)
    }
  }

  // MARK: Answers

  @Test(arguments: [200, 201, 202, 204, 299])
  func `2xx is stored`(status: Int) async throws {
    try await withServer { server in
      server.answer(.init(.init(code: status)))
      try await withSink(server.url) { try await $0.write(messages(["1"]), to: .messages) }
    }
  }

  @Test(arguments: [
    (408, true), (425, true), (429, true), (500, true), (502, true), (503, true), (504, true), (599, true),
    (400, false),
    (401, false), (403, false), (404, false), (409, false), (413, false), (422, false), (499, false),
  ])
  func `what may pass is told from what is refused for good, and the server's words are not repeated`(
    status: Int, isRetryable: Bool
  ) async throws {
    try await withServer { server in
      server.answer(.init(.init(code: status, reasonPhrase: "secret phrase"), body: "cannot parse \"secret 0\""))
      try await withSink(server.url) { sink in
        let error = await failure(sink)
        #expect(error?.isRetryable == isRetryable)
        #expect(error?.description.contains("answered \(status)") == true)
        #expect(error?.retryAfter == nil)
      }
    }
  }

  @Test func `a batch that is too large is refused, so that it is halved`() async throws {
    try await withServer { server in
      server.answer(.init(.contentTooLarge))
      try await withSink(server.url) { sink in
        let several = await failure(sink)
        #expect(several?.isRetryable == false)
        #expect(several?.description.contains("a batch of 2 messages is too large for it") == true)
        let single = await failure(sink, count: 1)
        #expect(single?.isRetryable == false)
        #expect(single?.description.contains("a batch of") == false)
      }
    }
  }

  @Test func `Retry-After is passed on`() async throws {
    try await withServer { server in
      try await withSink(server.url) { sink in
        for status in [HTTPResponse.Status.tooManyRequests, .serviceUnavailable] {
          server.answer(.init(status, [.retryAfter: "17"]))
          #expect(await failure(sink)?.retryAfter == .seconds(17))
        }
        server.answer(.init(.badRequest, [.retryAfter: "17"]))
        #expect(await failure(sink)?.retryAfter == nil)
      }
    }
  }

  @Test func `a date in Retry-After is counted by the server's clock`() async throws {
    let server = try ScriptedServer(
      answer: "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n"
        + "Retry-After: Wed, 25 Nov 2026 07:00:30 GMT\r\nDate: Wed, 25 Nov 2026 07:00:00 GMT\r\n\r\n", thenHangs: true)
    try await withSink("http://127.0.0.1:\(server.port)/") { #expect(await failure($0)?.retryAfter == .seconds(30)) }
    server.close()
  }

  @Test func `Retry-After is read in all its forms, and believed up to a day`() {
    let now = Date(timeIntervalSince1970: 784_111_770)
    for (value, wait) in [
      ("0", .zero), ("120", .seconds(120)), (" 5 ", .seconds(5)), ("99999999999999999999999", RetryAfter.longest),
      ("Sun, 06 Nov 1994 08:49:37 GMT", .seconds(7)), ("Sunday, 06-Nov-94 08:49:37 GMT", .seconds(7)),
      ("Sun Nov  6 08:49:37 1994", .seconds(7)), ("Sun, 06 Nov 1994 08:49:00 GMT", .zero),
      ("Sun, 06 Nov 2094 08:49:00 GMT", RetryAfter.longest), ("", nil), ("soon", nil), ("-1", nil), ("1.5", nil),
    ] as [(String, Duration?)] {
      #expect(RetryAfter.wait(value, date: nil, now: now) == wait, "\(value)")
    }
    #expect(
      RetryAfter.wait("Sun, 06 Nov 1994 08:49:37 GMT", date: "Sun, 06 Nov 1994 08:49:35 GMT", now: now) == .seconds(2))
  }

  @Test(arguments: [301, 302, 303, 307, 308])
  func `a redirect is not followed, and said to be one`(status: Int) async throws {
    try await withServer { server in
      server.answer(.init(.init(code: status), [.location: "\(server.url)/elsewhere"]))
      try await withSink(server.url) { sink in
        #expect(await failure(sink)?.description.contains("redirects are not followed") == true)
      }
      #expect(server.requests.count == 1)
    }
  }

  // MARK: Broken connections

  @Test func `nobody there is said at once, and may pass`() async throws {
    let server = try ScriptedServer(answer: "")
    server.close()
    try await withSink("http://127.0.0.1:\(server.port)/") { sink in
      let error = await failure(sink)
      #expect(error?.isRetryable == true)
      #expect(error?.description.contains("refused") == true)
    }
  }

  @Test(arguments: [
    "", "HTTP/1.1 200 OK\r\nContent-Len", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "nonsense\r\n\r\n",
  ])
  func `an answer that breaks off is none`(answer: String) async throws {
    let server = try ScriptedServer(answer: answer)
    try await withSink("http://127.0.0.1:\(server.port)/") { sink in
      #expect(await failure(sink)?.isRetryable == true)
    }
    server.close()
  }

  @Test func `a long answer is not read to its end`() async throws {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n"
    let server = try ScriptedServer(answer: head + String(repeating: "x", count: 200_000), thenHangs: true)
    try await withSink("http://127.0.0.1:\(server.port)/") { try await $0.write(messages(["1"]), to: .messages) }
    server.close()
  }

  @Test(arguments: ["", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this"])
  func `a server that hangs is given up when the time is over, and when the task is cancelled`(
    answer: String
  ) async throws {
    let server = try ScriptedServer(answer: answer, thenHangs: true)
    try await withSink("http://127.0.0.1:\(server.port)/", requestTimeout: .milliseconds(200)) { sink in
      let error = await failure(sink)
      #expect(error?.isRetryable == true)
      #expect(error?.description.contains("no answer within 0.2 seconds") == true)
    }
    try await withSink("http://127.0.0.1:\(server.port)/", requestTimeout: .seconds(3_600)) { sink in
      let before = server.requests
      let writing = Task { try await sink.write(messages(["1"]), to: .messages) }
      try await eventually("the server has the request") { server.requests > before }
      writing.cancel()
      await #expect(throws: CancellationError.self) { try await writing.value }
    }
    server.close()
  }

  @Test func `a connection that the server has closed meanwhile does no harm`() async throws {
    let server = try ScriptedServer(answer: "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    try await withSink("http://127.0.0.1:\(server.port)/") { sink in
      var stored = 0
      // A request may meet a connection that is just being closed; the next attempt does not.
      while stored < 5 {
        do {
          try await sink.write(messages(["1"]), to: .messages)
          stored += 1
        } catch let error as SinkError where error.isRetryable {}
      }
    }
    server.close()
  }

  @Test func `one that is let go without being closed does not stop the program`() async throws {
    try await withServer { server in
      try await HTTPSink(url: server.url).write(messages(["1"]), to: .messages)
      #expect(server.stored("messages") == ["1"])
    }
  }
}
