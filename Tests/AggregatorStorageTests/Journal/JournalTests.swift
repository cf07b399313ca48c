import AggregatorTestSupport
import Foundation
import GRDB
import Testing

@testable import AggregatorStorage

@Suite("Journal")
struct JournalTests {
  private let folder: TemporaryFolder
  private var path: String { folder.file("journal.db") }

  init() throws {
    folder = try TemporaryFolder()
  }

  private func open(maximumBytes: Int = 1 << 30) throws -> Journal {
    try Journal(path: path, maximumBytes: maximumBytes)
  }

  private func request(_ bodies: String..., stream: String = "messages", at time: Int64 = 7) throws -> JournalRequest {
    JournalRequest(
      stream: try StreamName(stream), messages: bodies.map { Message(body: $0, receivedAt: time) })
  }

  private func size(of journal: String) -> Int {
    ["", "-wal"].reduce(0) { sum, suffix in
      let attributes = try? FileManager.default.attributesOfItem(atPath: journal + suffix)
      return sum + ((attributes?[.size] as? Int) ?? 0)
    }
  }

  @Test func `messages come back in order, to the letter, each with an identity that stays the same`() async throws {
    let journal = try open()
    let told = JournalRequest(
      stream: try StreamName("orders"), messages: [Message(body: #"{"é":"😀"}"#, receivedAt: 9, identity: "k1")])
    let ranges = try await journal.append([request("1", "2"), told, request("3")]).map { try $0.get() }
    #expect(ranges == [1...2, 3...3, 4...4])
    let entries = try await journal.entries(after: 0, limit: 10)
    #expect(entries.map(\.message.body) == ["1", "2", #"{"é":"😀"}"#, "3"])
    #expect(entries.map(\.stream.description) == ["messages", "messages", "orders", "messages"])
    #expect(entries.map(\.message.receivedAt) == [7, 7, 9, 7])
    #expect(entries[2].message.identity == "k1")
    #expect(Set(entries.compactMap(\.message.identity)).count == 4)
    #expect(try await journal.entries(after: 1, limit: 2) == Array(entries[1...2]))
    #expect(try await journal.entries(after: 0, limit: 10, bytes: 1).count == 1, "one at least")
    try await journal.close()
    let again = try open()
    #expect(try await again.entries(after: 0, limit: 10) == entries)
    try await again.close()
  }

  @Test func `it is durable: write-ahead log, and really synchronous`() async throws {
    let journal = try open()
    _ = try await journal.append([request("1")])
    let pragmas = try await journal.file.pool.writeWithoutTransaction { database in
      try ["journal_mode", "synchronous", "auto_vacuum"].map { try String.fetchOne(database, sql: "PRAGMA \($0)") }
    }
    #expect(pragmas == ["wal", "2", "2"])
    try await journal.close()
  }

  @Test func `usage is exact: after appending, removing, burying and opening again`() async throws {
    let journal = try open()
    #expect(journal.usage == Journal.Usage())
    _ = try await journal.append([request("1", "22", at: 5), request("333", at: 6), request("4444", at: 7)])
    let size = { (bodies: [String]) in bodies.reduce(0) { $0 + Message(body: $1, receivedAt: 0).size } }
    #expect(
      journal.usage == Journal.Usage(messages: 4, bytes: size(["1", "22", "333", "4444"]), oldestReceivedAt: 5))
    try await journal.remove([1, 2, 99])
    #expect(journal.usage == Journal.Usage(messages: 2, bytes: size(["333", "4444"]), oldestReceivedAt: 6))
    try await journal.remove([1, 2])
    #expect(journal.usage.messages == 2, "what is gone does not count twice")
    let entries = try await journal.entries(after: 0, limit: 1)
    try await journal.bury([Burial(entries[0], error: "no", attempts: 1)])
    let rest = Journal.Usage(messages: 1, bytes: size(["4444"]), oldestReceivedAt: 7)
    #expect(journal.usage == rest)
    try await journal.close()
    let again = try open()
    #expect(again.usage == rest)
    try await again.remove([4])
    #expect(again.usage == Journal.Usage())
    try await again.close()
  }

  @Test func `it holds no more bytes than it may; requests that fit are taken beside one that does not`() async throws {
    let one = Message(body: "1", receivedAt: 0).size
    let journal = try open(maximumBytes: 3 * one)
    let results = try await journal.append([request("1"), request("2", "3", "4"), request("5", "6"), request("7")])
    #expect(try results[0].get() == 1...1)
    #expect(throws: JournalFull(held: one, maximum: 3 * one, wanted: 3 * one)) { try results[1].get() }
    #expect(try results[2].get() == 2...3)
    #expect(throws: JournalFull.self) { try results[3].get() }
    #expect(try await journal.entries(after: 0, limit: 9).map(\.message.body) == ["1", "5", "6"])
    try await journal.remove([1])
    #expect(try await journal.append([request("8")])[0].get() == 4...4)
    #expect(JournalFull(held: 0, maximum: 10, wanted: 11).neverFits)
    try await journal.close()
  }

  @Test func `a sequence number is never given twice, even when all is removed and it is opened again`() async throws {
    let journal = try open()
    _ = try await journal.append([request("1", "2")])
    try await journal.remove([1, 2])
    try await journal.close()
    let again = try open()
    #expect(try await again.append([request("3")])[0].get() == 3...3)
    try await again.close()
  }

  @Test func `many that append at once are each whole and in a row`() async throws {
    let journal = try open()
    let ranges = try await withThrowingTaskGroup(of: [ClosedRange<Int64>].self) { group in
      for writer in 0..<20 {
        group.addTask {
          let requests = try (0..<50).map { try request("[\(writer),\($0),0]", "[\(writer),\($0),1]") }
          return try await journal.append(requests).map { try $0.get() }
        }
      }
      return try await group.reduce(into: []) { $0 += $1 }
    }
    #expect(Set(ranges.flatMap { Array($0) }).count == 2_000)
    let entries = try await journal.entries(after: 0, limit: 3_000)
    #expect(entries.map(\.sequence) == Array(1...2_000))
    for pair in stride(from: 0, to: entries.count, by: 2) {
      #expect(entries[pair].message.body.dropLast(2) == entries[pair + 1].message.body.dropLast(2))
    }
    try await journal.close()
  }

  @Test func `what was appended is there when the process has ended without a word`() async throws {
    let journal = try open()
    _ = try await journal.append([request("1", "2")])
    // As kill -9 leaves it: the files as they are, the log not brought into the database.
    let copy = folder.file("copy.db")
    for suffix in ["", "-wal"] { try FileManager.default.copyItem(atPath: path + suffix, toPath: copy + suffix) }
    let found = try Journal(path: copy, maximumBytes: 1_000)
    #expect(try await found.entries(after: 0, limit: 9) == journal.entries(after: 0, limit: 9))
    try await found.close()
    try await journal.close()
  }

  @Test func `the file of 100 MB is small again when it is drained`() async throws {
    let journal = try open()
    let body = "\"\(String(repeating: "x", count: 10_000))\""
    for _ in 0..<20 {
      _ = try await journal.append([
        JournalRequest(
          stream: .messages, messages: Array(repeating: Message(body: body, receivedAt: 7), count: 500))
      ])
    }
    #expect(size(of: path) > 100_000_000)
    try await journal.remove(Array(1...5_000))
    #expect(size(of: path) > 50_000_000, "free pages are for what comes next while there is much")
    try await journal.remove(Array(5_001...10_000))
    #expect(size(of: path) < 5_000_000)
    _ = try await journal.append([request("1")])
    #expect(try await journal.entries(after: 0, limit: 9).map(\.message.body) == ["1"])
    try await journal.close()
  }

  @Test func `a full disk is told, nothing is taken, and it goes on when there is room`() async throws {
    let journal = try open()
    _ = try await journal.append([request("1")])
    let usage = journal.usage
    // SQLite's own limit on the file stands for that of the disk: the same error, at the same place.
    try await journal.file.pool.writeWithoutTransaction { try $0.execute(sql: "PRAGMA max_page_count = 20") }
    let receipt = Receipt()
    let large = JournalRequest(
      stream: .messages,
      messages: Array(
        repeating: Message(body: "\"\(String(repeating: "x", count: 1_000))\"", receivedAt: 7), count: 200),
      receipt: receipt)
    let error = await #expect(throws: JournalError.self) { _ = try await journal.append([large]) }
    #expect(error?.isRetryable == true)
    #expect(error?.description.contains("the disk is full") == true)
    #expect(journal.usage == usage)
    #expect(receipt.current == nil)
    _ = try await journal.append([request("2")])
    try await journal.file.pool.writeWithoutTransaction { try $0.execute(sql: "PRAGMA max_page_count = 100000") }
    _ = try await journal.append([large])
    #expect(try await journal.entries(after: 0, limit: 999).count == 202)
    try await journal.close()
  }

  @Test func `a damaged file is told when it is opened`() async throws {
    let journal = try open()
    for _ in 0..<50 { _ = try await journal.append([request("\"\(String(repeating: "x", count: 3_000))\"")]) }
    try await journal.close()
    let handle = try FileHandle(forUpdating: URL(fileURLWithPath: path))
    // Past the pages of the schema.
    try handle.seek(toOffset: 15 * 4_096)
    try handle.write(contentsOf: Data(repeating: 0xA5, count: 20 * 4_096))
    try handle.close()
    let error = try #require(throws: ProgramError.self) { try open() }
    #expect(error.description.contains("the database is damaged"))
    #expect(error.description.contains(path))
    #expect(error.description.contains(".recover"))
  }

  @Test func `damage that is found while it runs is told, as one that does not pass`() async throws {
    let journal = try open()
    for _ in 0..<200 { _ = try await journal.append([request("\"\(String(repeating: "x", count: 3_000))\"")]) }
    try await journal.file.pool.writeWithoutTransaction { _ = try $0.checkpoint(.truncate) }
    let handle = try FileHandle(forUpdating: URL(fileURLWithPath: path))
    try handle.seek(toOffset: 15 * 4_096)
    try handle.write(contentsOf: Data(repeating: 0xA5, count: 150 * 4_096))
    try handle.close()
    try await journal.file.pool.barrierWriteWithoutTransaction { try $0.execute(sql: "PRAGMA shrink_memory") }
    journal.file.pool.releaseMemory()
    let error = await #expect(throws: JournalError.self) { _ = try await journal.entries(after: 0, limit: 999) }
    #expect(error?.isRetryable == false)
    #expect(error?.description.contains("damaged") == true)
  }

  @Test func `a second one on the same file is refused while the first is open`() async throws {
    let journal = try open()
    let error = try #require(throws: ProgramError.self) { try open() }
    #expect(error.description.contains("another program, process \(getpid()), uses it"))
    let letters = try DeadLetters(path: path)
    #expect(try await letters.list() == [])
    try await letters.close()
    try await journal.close()
  }

  @Test func `a file of another kind is refused, and left as it was`() throws {
    try DatabaseQueue(path: folder.file("other.db")).write { try $0.execute(sql: "CREATE TABLE t (x INT)") }
    try Data("this is no database, whatever its name is; it is text".utf8)
      .write(to: URL(fileURLWithPath: folder.file("text")))
    let before = try Data(contentsOf: URL(fileURLWithPath: folder.file("other.db")))
    for (path, words) in [
      (folder.file("other.db"), "it is a database of something else"),
      (folder.file("text"), "is not a SQLite database"),
      (folder.file("none/journal.db"), "there is no folder"),
      (folder.path, "it is a folder"),
    ] {
      #expect {
        try Journal(path: path, maximumBytes: 1_000)
      } throws: { error in
        "\(error)".contains(words) && "\(error)".contains(path)
      }
    }
    #expect(try Data(contentsOf: URL(fileURLWithPath: folder.file("other.db"))) == before)
  }

  @Test func `a file of another version is refused`() async throws {
    try await open().close()
    try await DatabaseQueue(path: path).write {
      try $0.execute(sql: "UPDATE meta SET value = '2' WHERE key = 'version'")
    }
    let error = try #require(throws: ProgramError.self) { try open() }
    #expect(error.description.contains("it has the format 2, and this program knows 1"))
  }

  @Test(
    arguments: [
      ([], []), ([3], [3...3]), ([3, 1, 2], [1...3]), ([5, 1, 1, 7, 6], [1...1, 5...7]),
    ] as [([Int64], [ClosedRange<Int64>])])
  func `what is removed is few ranges`(sequences: [Int64], ranges: [ClosedRange<Int64>]) {
    #expect(Journal.runs(of: sequences) == ranges)
  }
}
