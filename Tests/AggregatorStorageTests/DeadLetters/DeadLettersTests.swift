import AggregatorTestSupport
import Foundation
import GRDB
import Testing

@testable import AggregatorStorage

@Suite("Dead letters")
struct DeadLettersTests {
  private let folder: TemporaryFolder
  private let letters: DeadLetters
  private let sink = MemorySink()
  private let orders: StreamName

  init() throws {
    folder = try TemporaryFolder()
    letters = try DeadLetters(path: folder.file("letters.db"))
    orders = try StreamName("orders")
  }

  private func keep(_ numbers: ClosedRange<Int>, of stream: StreamName = .messages) async throws {
    try await letters.keep(
      numbers.map {
        Burial(
          stream: stream, message: Message(body: "\($0)", receivedAt: Int64($0), identity: "i\($0)"), error: "no",
          attempts: 2)
      })
  }

  @Test func `what is kept is listed without its contents, shown with them, counted and dropped`() async throws {
    try await keep(1...3)
    try await keep(4...5, of: orders)
    let all = try await letters.list()
    #expect(all.map(\.id) == [1, 2, 3, 4, 5])
    #expect(all.allSatisfy { $0.body == nil && $0.error == "no" && $0.attempts == 2 && $0.size == 1 })
    #expect(all.map(\.identity) == ["i1", "i2", "i3", "i4", "i5"])
    #expect(try await letters.list(.stream(orders)).map(\.id) == [4, 5])
    #expect(try await letters.list(limit: 2, after: 1).map(\.id) == [2, 3])
    #expect(try await letters.letter(4)?.body == "4")
    #expect(try await letters.letter(4)?.stream == orders)
    #expect(try await letters.letter(99) == nil)
    #expect(try await letters.counts() == [.messages: 3, orders: 2])
    #expect(try await letters.drop(.ids([2, 4, 99])) == 2)
    #expect(try await letters.drop(.stream(orders)) == 1)
    #expect(try await letters.counts() == [.messages: 2])
    #expect(try await letters.drop(.all) == 2)
    try await keep(6...6)
    #expect(try await letters.list().map(\.id) == [6], "numbers are not used again")
    try await letters.close()
  }

  @Test func `a message that is refused again is one letter, with the last reason`() async throws {
    try await keep(1...1)
    let again = Message(body: "1", receivedAt: 1, identity: "i1")
    try await letters.keep([Burial(stream: .messages, message: again, error: "still no", attempts: 3)])
    let found = try await letters.list()
    #expect(found.map(\.error) == ["still no"])
    #expect(found.map(\.attempts) == [5])
    let anonymous = Burial(stream: .messages, message: Message(body: "2", receivedAt: 2), error: "no", attempts: 1)
    try await letters.keep([anonymous, anonymous])
    #expect(try await letters.list().count == 3)
    #expect(Set(try await letters.list().map(\.identity)).count == 3, "those without an identity are given one")
    try await letters.close()
  }

  @Test func `a replay stores letters in order in their streams, and keeps what is refused again, with the new reason`()
    async throws
  {
    try await keep(1...40)
    try await keep(41...50, of: orders)
    sink.refuse("7", "33")
    let replay = try await letters.replay(.all, into: sink, batchSize: 16)
    #expect(replay.stored == 48)
    #expect(replay.refused == 2)
    #expect(replay.stoppedBy == nil)
    #expect(sink.stored(.messages).map(\.body) == (1...40).filter { $0 != 7 && $0 != 33 }.map(String.init))
    #expect(sink.stored(orders).map(\.body) == (41...50).map(String.init))
    #expect(sink.stored(orders).first?.identity == "i41")
    #expect(sink.stored(orders).first?.receivedAt == 41)
    let left = try await letters.list()
    #expect(left.map(\.receivedAt) == [7, 33])
    #expect(left.allSatisfy { $0.error == "a message is refused" && $0.attempts > 3 })
    try await letters.close()
  }

  @Test func `a replay of some leaves the others`() async throws {
    try await keep(1...4)
    try await keep(5...6, of: orders)
    #expect(try await letters.replay(.ids([1, 3]), into: sink).stored == 2)
    #expect(try await letters.replay(.stream(orders), into: sink).stored == 2)
    #expect(try await letters.list().map(\.id) == [2, 4])
    try await letters.close()
  }

  @Test func `a sink that does not work ends a replay, and all is as it was`() async throws {
    try await keep(1...40)
    sink.fail(SinkError(description: "away", isRetryable: true))
    let before = try await letters.list()
    let replay = try await letters.replay(.all, into: sink, batchSize: 10)
    #expect(replay.stored == 0)
    #expect("\(try #require(replay.stoppedBy))" == "away")
    #expect(sink.writes == 1)
    #expect(try await letters.list() == before)
    try await letters.close()
  }

  @Test func `a replay that ended before the removal stores nothing twice`() async throws {
    let path = folder.file("messages.db")
    let messages = try SQLiteSink(path: path)
    try await keep(1...3)
    try await messages.write([Message(body: "1", receivedAt: 1, identity: "i1")], to: .messages)
    #expect(try await letters.replay(.all, into: messages).stored == 3)
    try await messages.close()
    #expect(try storedMessages(path) == ["1", "2", "3"])
    try await letters.close()
  }

  @Test func `what cannot be opened is said in words`() throws {
    try DatabaseQueue(path: folder.file("other.db")).write { try $0.execute(sql: "CREATE TABLE t (x INT)") }
    for (path, words) in [
      (folder.file("none.db"), "there is no such file"), (folder.file("other.db"), "a database of something else"),
    ] {
      #expect {
        try DeadLetters(path: path, mustExist: true)
      } throws: { error in
        "\(error)".contains(words) && "\(error)".contains(path)
      }
    }
    #expect(!FileManager.default.fileExists(atPath: folder.file("none.db")))
  }
}
