import AggregatorStorage
import AggregatorTestSupport
import Foundation
import HTTPTypes
import HummingbirdTesting
import NIOCore
import Synchronization
import Testing

@testable import AggregatorService

/// The built program, started for real.
@Suite("The program", .timeLimit(.minutes(3)))
struct ProgramTests {
  private let folder: TemporaryFolder
  private var database: String { folder.file("messages.db") }
  private var target: String { "sqlite:\(database)" }

  init() throws {
    folder = try TemporaryFolder()
  }

  private func serve(_ more: String...) throws -> ProgramProcess {
    try ProgramProcess(["--from", "http://127.0.0.1:0", "--to", target] + more)
  }

  private static let json: HTTPFields = [.contentType: "application/json"]

  /// Clients that send one number after the other, each when the one before is answered, until the connection is gone
  /// or they are refused.
  ///
  /// Returns what was acknowledged.
  private func load(port: Int, clients: Int, acknowledged: Acknowledged) async {
    await withTaskGroup(of: Void.self) { group in
      for client in 0..<clients {
        group.addTask {
          try? await TestClient.withClient(host: "127.0.0.1", port: port) { connection in
            for number in 0... {
              let message = "\(client * 1_000_000 + number)"
              let response = try await connection.post(
                "/v1/messages", headers: Self.json, body: ByteBuffer(string: message))
              guard response.status == .ok else { return }
              acknowledged.add(message)
            }
          }
        }
      }
    }
  }

  private final class Acknowledged: Sendable {
    private let messages = Mutex<[String]>([])
    var all: [String] { messages.withLock { $0 } }
    func add(_ message: String) { messages.withLock { $0.append(message) } }
  }

  // MARK: Ends

  @Test(arguments: [SIGTERM, SIGINT])
  func `a signal under load: what was answered is stored once, and it ends well with a summary`(
    signal: Int32
  ) async throws {
    let program = try serve()
    let port = try await program.port()
    let acknowledged = Acknowledged()
    async let loading: Void = load(port: port, clients: 8, acknowledged: acknowledged)
    try await eventually("there is load") { acknowledged.all.count > 300 }
    program.signal(signal)
    #expect(try await program.exit() == .init(status: 0))
    await loading
    let stored = try storedMessages(database)
    #expect(Set(acknowledged.all).subtracting(stored) == [])
    #expect(Set(stored).count == stored.count, "none twice")
    let summary = try #require(
      program.errors.firstMatch(of: /stored (\d+) messages in (\d+) batches \(mean .* of 500\), 0 failed/))
    #expect(Int(summary.1) == stored.count)
  }

  @Test(arguments: 0..<3)
  func `killed under load, no answered message is missing, and the next start goes on`(round: Int) async throws {
    let program = try serve()
    let port = try await program.port()
    let acknowledged = Acknowledged()
    async let loading: Void = load(port: port, clients: 8, acknowledged: acknowledged)
    try await eventually("there is load") { acknowledged.all.count > 200 + 100 * round }
    program.signal(SIGKILL)
    #expect(try await program.exit() == .init(status: SIGKILL, bySignal: true))
    await loading
    let again = try serve()
    _ = try await again.port()
    again.signal(SIGTERM)
    #expect(try await again.exit() == .init(status: 0))
    let stored = try storedMessages(database)
    #expect(Set(acknowledged.all).subtracting(stored) == [])
    #expect(Set(stored).count == stored.count, "none twice")
  }

  @Test func `a second signal ends it at once, although something is held`() async throws {
    let program = try ProgramProcess(["--from", "stdin", "--to", target])
    // Not looked into before it has a write-ahead log: that would make the file, or be in the program's way.
    try await eventually("there is a table") {
      FileManager.default.fileExists(atPath: database + "-wal") && (try? storedMessages(database)) != nil
    }
    // The drain cannot end while another program keeps the database locked.
    let lock = try DatabaseLock(database)
    try program.write("1\n")
    try await eventually("the line is read") { program.unreadInput == 0 }
    program.signal(SIGINT)
    try await eventually("it is stopping") { program.errors.contains("stopping") }
    program.signal(SIGINT)
    #expect(try await program.exit() == .init(status: 128 + SIGINT))
    #expect(program.errors.contains("ended by a second signal"))
    lock.release()
    #expect(try storedMessages(database) == [])
  }

  @Test func `a client that does not finish its request does not hold up the end`() async throws {
    let program = try serve()
    let slow = try RawConnection(port: try await program.port())
    slow.send(
      "POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n"
        + "Expect: 100-continue\r\n\r\n")
    _ = try await slow.receive { $0.contains("100 Continue") }
    slow.send("[1,")
    program.signal(SIGTERM)
    #expect(try await program.exit() == .init(status: 0))
    #expect(try storedMessages(database) == [])
  }

  // MARK: Standard input

  private func readLines(_ text: String, _ more: String...) throws -> ProgramProcess {
    let file = folder.file("input.ndjson")
    try Data(text.utf8).write(to: URL(fileURLWithPath: file))
    return try ProgramProcess(["--from", "stdin", "--to", target] + more, input: file)
  }

  @Test func `all lines of standard input are stored, in order and once`() async throws {
    let lines = (0..<20_000).map { "{\"n\":\($0)}" }
    let program = try readLines(lines.joined(separator: "\n"))
    #expect(try await program.exit() == .init(status: 0))
    #expect(program.errors.contains("stored 20000 messages"))
    #expect(try storedMessages(database) == lines)
  }

  @Test func `malformed lines are told with their numbers, the others are stored, and the exit status says so`()
    async throws
  {
    let program = try readLines("1\n{\"a\":\n\n\"ok\"\nnope\n2")
    #expect(try await program.exit() == .init(status: 65))
    #expect(program.errors.contains("line 2, column 6: "))
    #expect(program.errors.contains("line 5, column 1: "))
    #expect(program.errors.contains("left out 2 malformed lines"))
    #expect(try storedMessages(database) == ["1", "\"ok\"", "2"])
  }

  @Test func `a flood of malformed lines is counted and not told one by one`() async throws {
    let program = try readLines(String(repeating: "x\n", count: 5_000))
    #expect(try await program.exit() == .init(status: 65))
    #expect(program.errors.contains("left out 5000 malformed lines"))
    #expect(program.errors.split(separator: "\n").count < 30)
  }

  @Test func `a line longer than may be is left out`() async throws {
    let program = try readLines("1\n\"\(String(repeating: "x", count: 3_000_000))\"\n2\n", "--max-body", "1MiB")
    #expect(try await program.exit() == .init(status: 65))
    #expect(program.errors.contains("line 2, it is longer than 1048576 bytes"))
    #expect(try storedMessages(database) == ["1", "2"])
  }

  @Test func `a long line among others is left out too`() async throws {
    let program = try readLines("1\n\"\(String(repeating: "x", count: 40))\"\n2", "--max-body", "10")
    #expect(try await program.exit() == .init(status: 65))
    #expect(program.errors.contains("line 2, it is longer than 10 bytes"))
    #expect(try storedMessages(database) == ["1", "2"])
  }

  @Test func `stopped while it reads, it stores what it has read`() async throws {
    let program = try ProgramProcess(["--from", "stdin", "--to", target, "--linger", "1ms"])
    try program.write("1\n2\n3")
    try await eventually("the lines are stored") {
      FileManager.default.fileExists(atPath: database) && (try? storedMessages(database).count) == 2
    }
    program.signal(SIGINT)
    #expect(try await program.exit() == .init(status: 128 + SIGINT))
    // Of the third line the end is missing: "3" may be the beginning of "345".
    #expect(try storedMessages(database) == ["1", "2"])
  }

  // MARK: Starts

  @Test func `it says in one line why it cannot start`() async throws {
    let taken = try serve()
    let port = try await taken.port()
    for (arguments, environment, status, words) in [
      (["--to", "sqlite:/none/x.db"], [:], 1, "there is no folder '/none'"),
      (["--to", "mongo:x"], [:], 64, "--to: 'mongo' is no known kind of target"),
      (
        ["--from", "http://127.0.0.1:\(port)", "--to", "sqlite:\(folder.file("b.db"))"], [:], 1, "another program does"
      ),
      (["--linger", "10"], [:], 64, "--linger: '10' has no unit"),
      ([], ["AGGREGATOR_BATCH_SIZE": "many"], 64, "AGGREGATOR_BATCH_SIZE: 'many' is no count"),
      (["--batch-size", "0"], [:], 64, "--batch-size: '0' is no count"),
      (["--batch-size", "10", "--capacity", "9", "--to", target], [:], 1, "must be at least --batch-size (10)"),
      (["--log-level", "loud"], [:], 64, "--log-level: 'loud' is no level"),
      (["--max-body", "0"], [:], 64, "--max-body"),
      (["--nonsense"], [:], 64, "--nonsense is no option"),
    ] as [([String], [String: String], Int32, String)] {
      let program = try ProgramProcess(arguments, environment: environment)
      #expect(try await program.exit() == .init(status: status), "\(arguments)")
      #expect(program.errors.contains(words), "\(arguments): \(program.errors)")
    }
    taken.signal(SIGTERM)
    #expect(try await taken.exit() == .init(status: 0))
  }

  @Test func `each option can come from the environment, and the command line wins`() async throws {
    let program = try ProgramProcess(
      ["--to", target],
      environment: [
        "AGGREGATOR_FROM": "http://127.0.0.1:0", "AGGREGATOR_TO": "sqlite:/none/x.db", "AGGREGATOR_BATCH_SIZE": "7",
        "AGGREGATOR_LINGER": "1ms", "AGGREGATOR_CONCURRENCY": "2", "AGGREGATOR_CAPACITY": "70",
        "AGGREGATOR_DRAIN_TIMEOUT": "1m", "AGGREGATOR_MAX_BODY": "1KiB", "AGGREGATOR_LOG_LEVEL": "error",
      ])
    let port = try await program.port()
    try await TestClient.withClient(host: "127.0.0.1", port: port) { client in
      let small = try await client.post("/v1/messages", headers: Self.json, body: ByteBuffer(string: "1"))
      #expect(small.status == .ok)
      let large = try await client.post(
        "/v1/messages", headers: Self.json, body: ByteBuffer(repeating: 0x31, count: 2_000))
      #expect(large.status == .contentTooLarge)
    }
    program.signal(SIGTERM)
    #expect(try await program.exit() == .init(status: 0))
    #expect(program.errors.contains("(mean 1.0 of 7)"))
  }
}
