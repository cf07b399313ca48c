import AggregatorTestSupport
import BatchingTesting
import Dispatch
import Foundation
import GRDB
import Testing

/// What no client should send: the program stays up, its memory bounded, and those who behave are served meanwhile.
@Suite("Hostile input", .serialized, .timeLimit(.minutes(60)))
struct HostileTests {
  private let folder: TemporaryFolder

  init() throws {
    folder = try TemporaryFolder()
  }

  /// Runs what blocks on a thread of its own.
  private static func onThread<Output: Sendable>(_ work: @escaping @Sendable () -> Output) async -> Output {
    await withCheckedContinuation { continuation in
      Thread.detachNewThread { continuation.resume(returning: work()) }
    }
  }

  private static func head(
    length: Int, type: String = "application/json", path: String = "/v1/messages", more: String = ""
  ) -> String {
    "POST \(path) HTTP/1.1\r\nHost: x\r\nContent-Type: \(type)\r\nContent-Length: \(length)\r\n\(more)\r\n"
  }

  private static func request(_ body: String, type: String = "application/json") -> String {
    head(length: body.utf8.count, type: type) + body
  }

  /// Runs the hostility beside four clients that behave; returns the most memory that the program had.
  private func beside(
    _ arguments: [String] = [], _ hostility: @escaping @Sendable (Int) async throws -> Void
  ) async throws -> Int {
    let path = folder.file("messages.db")
    let program = try RestartableProgram(["--to", "sqlite:\(path)"] + arguments)
    let clients = Clients(port: program.port)
    try await program.start()
    let sending = Task { try await clients.run(4) }
    let watching = Task {
      var most = 0
      while !Task.isCancelled {
        most = max(most, program.residentMemory)
        try? await Task.sleep(for: .milliseconds(10))
      }
      return most
    }
    try await eventually("the clients are served") { clients.result.identities.count > 0 }
    let before = clients.result.identities.count
    try await hostility(program.port)
    try await eventually("the clients that behave are served meanwhile, or at least after") {
      clients.result.identities.count > before
    }
    let during = clients.result.identities.count - before
    clients.stop()
    try await sending.value
    watching.cancel()
    #expect(clients.result.statuses.keys.allSatisfy { $0 == 200 }, "\(clients.result.statuses)")
    program.kill(SIGTERM)
    #expect(try await program.end() == 0, "\(program.errors)")
    let stored = try await DatabaseQueue(path: path).read {
      try Int.fetchOne($0, sql: "SELECT count(*) FROM messages WHERE identity IS NOT NULL")
    }
    #expect(stored == clients.result.identities.count)
    let most = await watching.value
    print("hostile: \(during) messages of others meanwhile; at most \(most >> 20) MiB resident")
    return most
  }

  @Test func `bodies that are malformed in every way`() async throws {
    let bodies: [(String, [Int])] = [
      (Self.request("{\"a\":"), [400]),
      (Self.request("\u{0}\u{1}\u{2}"), [400]),
      (Self.request(String(repeating: "[", count: 100_000)), [400]),
      (Self.request(String(repeating: "{\"a\":", count: 50_000)), [400]),
      (Self.request("[" + String(repeating: "1,", count: 100_000)), [400]),
      (Self.request("1\n{\n", type: "application/x-ndjson"), [400]),
      (Self.request("x", type: "multipart/form-data"), [415]),
      (Self.head(length: 1, path: "/v1/streams/a%27%3B%20DROP%20TABLE%20messages/messages") + "1", [404]),
      (Self.head(length: 1, path: "/v1/streams/" + String(repeating: "a", count: 5_000) + "/messages") + "1", [404]),
      (Self.head(length: 1 << 40), [413]),
      (Self.head(length: 1, more: "Content-Encoding: gzip\r\n") + "1", [400]),
      (Self.head(length: 1, more: "Idempotency-Key: \(String(repeating: "k", count: 300))\r\n") + "1", [400]),
      ("POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n", [400]),
      ("POST /v1/messages HTTP/1.1\r\nHost: x\r\n" + String(repeating: "A: b\r\n", count: 100_000), [0, 400, 431]),
      ("POST /v1/messages HTTP/1.1\r\nHost: x\r\nX: " + String(repeating: "y", count: 1 << 20), [0, 400, 431]),
      (String(repeating: "\u{ff}garbage\r\n\r\n", count: 1_000), [0, 400]),
      ("GET / HTTP/9.9\r\n\r\n", [0, 400, 404, 505]),
    ]
    let most = try await beside { port in
      for _ in 0..<(TortureSize.isFull ? 100 : 3) {
        for (bytes, expected) in bodies {
          let status = await Self.onThread { () -> Int in
            guard let connection = HostileConnection(port: port) else { return -1 }
            connection.send(bytes)
            return connection.status()
          }
          #expect(expected.contains(status), "\(status) for \(bytes.prefix(120))")
        }
      }
    }
    #expect(most < 512 << 20)
  }

  @Test func `random bytes, and requests with random bytes changed`() async throws {
    _ = try await beside { port in
      var random = SeededGenerator(seed: TortureSize.seed)
      let whole = Array(
        (Self.request("[1,{\"a\":\"b\"}]") + Self.request("1\n2\n", type: "application/x-ndjson")).utf8)
      for _ in 0..<(TortureSize.isFull ? 20_000 : 300) {
        var bytes = whole
        for _ in 0..<Int.random(in: 1...6, using: &random) {
          let place = bytes.indices.randomElement(using: &random) ?? 0
          switch Int.random(in: 0..<3, using: &random) {
          case 0: bytes[place] = UInt8.random(in: 0...255, using: &random)
          case 1: bytes.remove(at: place)
          default: bytes.insert(UInt8.random(in: 0...255, using: &random), at: place)
          }
        }
        let sent = bytes
        let isOpen = await Self.onThread { () -> Bool in
          guard let connection = HostileConnection(port: port) else { return false }
          connection.send(sent)
          return true
        }
        #expect(isOpen, "the program takes no connection any more; seed \(TortureSize.seed)")
      }
    }
  }

  @Test(
    .enabled(if: OpenFiles.allow(TortureSize.halfOpenConnections), "the limit of open files is too low (ulimit -Hn)"))
  func `thousands of half-open connections, and heads and bodies that trickle`() async throws {
    // Long enough for all of them to be open together.
    let patience = TortureSize.isFull ? 20 : 4
    let most = try await beside(["--header-timeout", "\(patience)s", "--body-timeout", "\(patience)s"]) { port in
      await Self.onThread {
        var open = (0..<TortureSize.halfOpenConnections).compactMap { number in
          HostileConnection(port: port).map { (number: number, connection: $0) }
        }
        for (number, connection) in open {
          // Some say nothing, some begin a request, some begin a body.
          switch number % 3 {
          case 0: break
          case 1: connection.send("POST /v1/messages HTTP/1.1\r\nHost:")
          default: connection.send(Self.head(length: 1_000) + "[1,")
          }
        }
        open.removeAll { $0.connection.isClosed() }
        print("hostile: \(open.count) connections are half open")
        #expect(open.count == TortureSize.halfOpenConnections)
        // A byte now and then buys none of them more time.
        for _ in 0..<(patience + 20) where !open.isEmpty {
          for (number, connection) in open where number % 3 > 0 { connection.send("1") }
          usleep(1_000_000)
          open.removeAll { $0.connection.isClosed() }
        }
        #expect(open.isEmpty, "\(open.count) have not been cut")
      }
    }
    #expect(most < 1 << 30)
  }

  @Test func `bodies without end, of bytes that nobody wants`() async throws {
    let most = try await beside { port in
      await withTaskGroup(of: Void.self) { group in
        for _ in 0..<8 {
          group.addTask {
            await Self.onThread {
              for type in ["application/json", "application/x-ndjson", "text/plain"] {
                guard let connection = HostileConnection(port: port) else { continue }
                connection.send(
                  "POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Type: \(type)\r\nTransfer-Encoding: chunked\r\n\r\n"
                )
                let chunk = Array("10000\r\n".utf8) + [UInt8](repeating: 0x20, count: 0x10000) + Array("\r\n".utf8)
                for _ in 0..<2_000 where !connection.send(chunk) { break }
              }
            }
          }
        }
      }
    }
    #expect(most < 512 << 20)
  }
}
