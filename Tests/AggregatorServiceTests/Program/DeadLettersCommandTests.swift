import AggregatorStorage
import AggregatorTestSupport
import Foundation
import GRDB
import Testing

@Suite("The command for dead letters")
struct DeadLettersCommandTests {
  private let folder: TemporaryFolder
  private let journal: Journal
  private var path: String { folder.file("journal.db") }

  /// A journal that a program has open, with three dead letters in two streams.
  init() async throws {
    folder = try TemporaryFolder()
    journal = try Journal(path: folder.file("journal.db"), maximumBytes: 1 << 30)
    let requests = [
      JournalRequest(
        stream: .messages,
        messages: [
          Message(body: #"{"secret":1}"#, receivedAt: 1_700_000_000_250_000, identity: "k1"),
          Message(body: "2", receivedAt: 1_700_000_001_000_000),
        ]),
      JournalRequest(
        stream: try StreamName("orders"), messages: [Message(body: "3", receivedAt: 1_700_000_002_000_000)]),
    ]
    _ = try await journal.append(requests)
    let entries = try await journal.entries(after: 0, limit: 10)
    try await journal.bury(entries.map { Burial($0, error: "value\nout of range", attempts: 4) })
  }

  private func run(
    _ arguments: String..., environment: [String: String] = [:]
  ) async throws -> (status: Int32, output: String, errors: String) {
    let process = try ProgramProcess(["dead-letters"] + arguments, environment: environment)
    let exit = try await process.exit()
    return (exit.status, process.output, process.errors)
  }

  @Test func `list shows what there is, and no contents`() async throws {
    let all = try await run("list", "--journal", path)
    #expect(all.status == 0)
    let lines = all.output.split(separator: "\n")
    #expect(lines.count == 4)
    #expect(lines[0].split(separator: " ").first == "ID")
    #expect(lines[1].hasPrefix("1   messages  "))
    #expect(lines[1].hasSuffix("value out of range"))
    #expect(!all.output.contains("secret"))
    let some = try await run("list", "--limit", "1", "--after", "1", environment: ["AGGREGATOR_JOURNAL": path])
    #expect(some.output.contains("There are more: --after 2"))
    let ofOrders = try await run("list", "--stream", "orders", "--json", "--journal", path)
    let object = try JSONSerialization.jsonObject(with: Data(ofOrders.output.utf8)) as? [String: Any]
    #expect(object?["id"] as? Int == 3)
    #expect(object?["stream"] as? String == "orders")
    #expect(object?["receivedAt"] as? String == "2023-11-14T22:13:22.000Z")
    #expect(object?["attempts"] as? Int == 4)
    #expect(object?["bytes"] as? Int == 1)
    #expect(object?["error"] as? String == "value\nout of range")
    try await journal.close()
  }

  @Test func `show has the contents`() async throws {
    let shown = try await run("show", "1", "--journal", path)
    #expect(shown.status == 0)
    #expect(shown.output.hasSuffix("\n\n" + #"{"secret":1}"# + "\n"))
    #expect(shown.output.contains("received at: 2023-11-14T22:13:20.250Z\n"))
    #expect(shown.output.contains("identity:    k1\n"))
    let none = try await run("show", "99", "--journal", path)
    #expect(none.status == 1)
    #expect(none.errors.contains("there is no dead letter 99"))
    try await journal.close()
  }

  @Test func `replay stores them in their streams, and they are gone`() async throws {
    let target = folder.file("messages.db")
    let one = try await run("replay", "2", "--journal", path, "--to", "sqlite:\(target)")
    #expect(one.output == "stored 1, refused 0\n")
    let all = try await run("replay", "--all", "--journal", path, "--to", "sqlite:\(target)")
    #expect(all.output == "stored 2, refused 0\n")
    #expect(all.status == 0)
    #expect(try storedMessages(target) == ["2", #"{"secret":1}"#])
    #expect(try await run("list", "--journal", path).output == "There are no dead letters.\n")
    try await journal.close()
  }

  @Test func `what is refused again stays, and the exit status says so`() async throws {
    let target = folder.file("messages.db")
    let sink = try SQLiteSink(path: target)
    try sink.prepare(.messages)
    try await sink.close()
    try await DatabaseQueue(path: target).write {
      try $0.execute(
        sql: "CREATE TRIGGER t BEFORE INSERT ON messages BEGIN SELECT RAISE(ABORT, 'not wanted'); END")
    }
    let replay = try await run("replay", "--all", "--journal", path, "--to", "sqlite:\(target)")
    #expect(replay.output == "stored 1, refused 2\n")
    #expect(replay.status == 74)
    let left = try await run("list", "--journal", path)
    #expect(left.output.contains("not wanted"))
    #expect(left.output.split(separator: "\n").count == 3)
    try await journal.close()
  }

  @Test func `drop removes those that are meant`() async throws {
    #expect(try await run("drop", "1", "99", "--journal", path).output == "dropped 1\n")
    #expect(try await run("drop", "--stream", "orders", "--journal", path).output == "dropped 1\n")
    #expect(try await run("drop", "--all", "--journal", path).output == "dropped 1\n")
    try await journal.close()
  }

  @Test func `what is unclear is refused before anything is done`() async throws {
    for (arguments, status, words) in [
      (["list"], 64, "give --journal or --dead-letters"),
      (["list", "--journal", path, "--dead-letters", path], 64, "are both given"),
      (["list", "--journal", path, "--stream", "A"], 64, "is no name of a stream"),
      (["list", "--journal", folder.file("none")], 1, "there is no such file"),
      (["drop", "--journal", path], 64, "say which dead letters are meant"),
      (["drop", "1", "--all", "--journal", path], 64, "say which dead letters are meant"),
      (["replay", "--all", "--journal", path], 64, "say where to store them"),
      (["replay", "--all", "--journal", path, "--to", "nowhere"], 1, "is no target"),
    ] as [([String], Int32, String)] {
      let process = try ProgramProcess(["dead-letters"] + arguments)
      #expect(try await process.exit().status == status, "\(arguments)")
      #expect(process.errors.contains(words), "\(arguments): \(process.errors)")
    }
    #expect(try await run("list", "--journal", path).output.split(separator: "\n").count == 4)
    try await journal.close()
  }
}
