import AggregatorTestSupport
import Foundation
import Synchronization
import Testing

@testable import AggregatorStorage

@Suite("File sink", .timeLimit(.minutes(5)))
struct FileSinkTests {
  private let folder: TemporaryFolder
  private var path: String { folder.file("streams") }
  private let clock = ManualTime()

  init() throws {
    folder = try TemporaryFolder()
  }

  private func sink(
    size: Int = 1 << 20, time: Duration = .seconds(3_600), compresses: Bool = false
  ) throws -> FileSink {
    try FileSink(
      folder: path, rotationSize: size, rotationTime: time, compresses: compresses, now: { [clock] in clock.now })
  }

  private func write(_ data: Data, _ name: String, stream: StreamName = .messages) throws {
    try FileManager.default.createDirectory(atPath: "\(path)/\(stream)", withIntermediateDirectories: true)
    try data.write(to: URL(fileURLWithPath: "\(path)/\(stream)/\(name)"))
  }

  private func bytes(_ name: String) throws -> Data {
    try Data(contentsOf: URL(fileURLWithPath: "\(path)/messages/\(name)"))
  }

  // MARK: Names and rotation

  @Test func `the file that is written has .open at its end, a whole one has not, and nothing else is left`()
    async throws
  {
    let sink = try sink()
    try await sink.write(messages(["1", "2"]), to: .messages)
    #expect(try StoredFiles(path).names == ["20261125T070000.123456Z-000001.ndjson.open"])
    try await sink.write(messages(["3"]), to: .messages)
    try await sink.close()
    #expect(
      try FileManager.default.contentsOfDirectory(atPath: "\(path)/messages")
        == ["20261125T070000.123456Z-000001.ndjson"])
    #expect(try bytes("20261125T070000.123456Z-000001.ndjson") == Data("1\n2\n3\n".utf8))
  }

  @Test func `names sort in the order of writing, also when the clock stands still or goes back`() async throws {
    for (number, step) in [0, 0, 1_000_000, -5_000_000, 0].enumerated() {
      clock.advance(step)
      let sink = try sink(size: 1)
      try await sink.write(messages(["\(number)"]), to: .messages)
      try await sink.write(messages(["\"\(number)\""]), to: .messages)
      try await sink.close()
    }
    let files = try StoredFiles(path)
    #expect(files.names.count == 10)
    #expect(try files.lines() == (0..<5).flatMap { ["\($0)", "\"\($0)\""] })
    #expect(files.names.last == "20261125T070001.123456Z-000006.ndjson")
  }

  @Test func `a name is read as it was written, and others are not`() throws {
    for compresses in [false, true] {
      let name = FileName(now: clock.now, after: nil, isCompressed: compresses)
      #expect(FileName(name.open, isOpen: true) == name)
      #expect(FileName(name.finished, isOpen: false)?.finished == name.finished)
      #expect(FileName(name.finished, isOpen: true) == nil)
      #expect(FileName(name.open, isOpen: false) == nil)
    }
    for other in ["notes.txt", "20261325T070000.123456Z-000001.ndjson", "x20261125T070000.123456Z-000001.ndjson", ""] {
      #expect(FileName(other, isOpen: false) == nil)
    }
  }

  @Test func `no file is larger than the rotation size, but for one with a batch that is`() async throws {
    let sink = try sink(size: 20)
    for body in ["\"1234567\"", "\"2345678\"", "\"3456789\"", "\"\(String(repeating: "x", count: 100))\"", "1"] {
      try await sink.write(messages([body]), to: .messages)
    }
    let files = try StoredFiles(path)
    #expect(try files.names.map { try bytes($0).count } == [20, 10, 103, 2])
    #expect(files.names.map { $0.hasSuffix(".open") } == [false, false, false, true])
    try await sink.close()
  }

  @Test func `a file that is old is finished before the next batch`() async throws {
    let sink = try sink(time: .seconds(60))
    try await sink.write(messages(["1"]), to: .messages)
    clock.advance(59_999_999)
    try await sink.write(messages(["2"]), to: .messages)
    clock.advance(1)
    try await sink.write(messages(["3"]), to: .messages)
    let files = try StoredFiles(path)
    #expect(
      files.names == ["20261125T070000.123456Z-000001.ndjson", "20261125T070100.123456Z-000001.ndjson.open"])
    #expect(try files.names.map { try files.lines($0) } == [["1", "2"], ["3"]])
    try await sink.close()
  }

  @Test func `a file that is old is finished when nothing comes any more`() async throws {
    let sink = try FileSink(folder: path, rotationTime: .milliseconds(50))
    try await sink.write(messages(["1"]), to: .messages)
    try await eventually("the file is finished") { try StoredFiles(path).names.allSatisfy { $0.hasSuffix(".ndjson") } }
    try await sink.write(messages(["2"]), to: .messages)
    try await sink.close()
    #expect(try StoredFiles(path).lines() == ["1", "2"])
  }

  // MARK: Gzip

  @Test func `a compressed file is read by zcat up to the last batch while it is written`() async throws {
    let sink = try sink(compresses: true)
    for number in 0..<3 {
      try await sink.write(messages(["\(number)", "\"\(String(repeating: "x", count: 1 << 20))\""]), to: .messages)
      #expect(try StoredFiles(path).lines().count == 2 * (number + 1))
    }
    #expect(try StoredFiles(path).names == ["20261125T070000.123456Z-000001.ndjson.gz.open"])
    try await sink.close()
    let name = try #require(try StoredFiles(path).names.first)
    #expect(name == "20261125T070000.123456Z-000001.ndjson.gz")
    #expect(try bytes(name).count < 1 << 15)
    try run("/bin/sh", "-c", "exec gzip --test \"$0\"", "\(path)/messages/\(name)")
  }

  // MARK: After a crash

  private static let open = "20261125T060000.000000Z-000001.ndjson.open"
  private static let finished = "20261125T060000.000000Z-000001.ndjson"

  @Test(arguments: [
    // What is in the file, what .batch says, what should stay.
    ("1\n2\n{\"torn", "", "1\n2\n"),
    ("1\n2\n", "", "1\n2\n"),
    ("no line at all", "", ""),
    ("", "", ""),
    ("1\n2\n3\n4\n", "\(open) 2 8 ", "1\n2\n3\n4\n"),
    ("1\n2\n3\n4", "\(open) 2 8 ", "1\n"),
    ("1\n2\n3\n", "\(open) 2 8 ", "1\n"),
    ("1\n", "\(open) 2 8 ", "1\n"),
    ("1\n2\n", "\(open) 0 8 ", ""),
    ("1\n2\n", "20261125T050000.000000Z-000001.ndjson.open 0 8 ", "1\n2\n"),
    ("1\n2\n", "\(open) 0 ", "1\n2\n"),
    ("1\n2\n3", "\(open) 8 2 ", "1\n2\n"),
  ])
  func `what a crash has left of a batch is cut off`(content: String, mark: String, expected: String) async throws {
    try write(Data(content.utf8), Self.open)
    try write(Data(mark.utf8), ".batch")
    let sink = try sink()
    #expect(
      try FileManager.default.contentsOfDirectory(atPath: "\(path)/messages") == (expected == "" ? [] : [Self.finished])
    )
    if expected != "" { #expect(try bytes(Self.finished) == Data(expected.utf8)) }
    try await sink.write(messages(["9"]), to: .messages)
    try await sink.close()
    #expect(try StoredFiles(path).lines() == expected.split(separator: "\n").map(String.init) + ["9"])
  }

  @Test func `a torn tail may be long`() async throws {
    let lines = (0..<1_000).map { "\($0)\n" }.joined()
    try write(Data((lines + String(repeating: "x", count: 300_000)).utf8), Self.open)
    try await sink().close()
    #expect(try bytes(Self.finished) == Data(lines.utf8))
  }

  @Test func `of a compressed file the last whole member is the end`() async throws {
    let members = ["1\n2\n", "\"\(String(repeating: "x", count: 1 << 20))\"\n", "3\n"].map {
      Gzip.member(Array($0.utf8))
    }
    let whole = members.flatMap(\.self)
    let zeros = [UInt8](repeating: 0, count: 5_000)
    var wrong = members[0]
    wrong[wrong.count - 6] ^= 1  // Its checksum.
    let tails = [[], Array(members[1].dropLast()), Array(members[0].prefix(5)), zeros, wrong + members[0]]
    for (number, tail) in tails.enumerated() {
      let name = "2026112\(number)T060000.000000Z-000001.ndjson.gz"
      try write(Data(whole + tail), "\(name).open")
      try await sink(compresses: true).close()
      #expect(try bytes(name) == Data(whole))
    }
    #expect(try StoredFiles(path).lines().count == 4 * tails.count)
  }

  @Test func `a killed writer's files of all streams are finished at the start, and other files are let alone`()
    async throws
  {
    let other = try StreamName("other")
    try write(Data("1\n2".utf8), Self.open)
    try write(Data("3\n4\n".utf8), Self.open, stream: other)
    try write(Data("no end".utf8), "notes.txt")
    try write(Data("no end".utf8), Self.finished.replacing("06", with: "05"))
    try Data("x".utf8).write(to: URL(fileURLWithPath: "\(path)/file"))
    try await sink().close()
    #expect(try StoredFiles(path).names == [Self.finished.replacing("06", with: "05"), Self.finished, "notes.txt"])
    #expect(try bytes("notes.txt") == Data("no end".utf8))
    #expect(try StoredFiles(path, other).lines() == ["3", "4"])
  }

  @Test func `names go on after those that are there`() async throws {
    try write(Data("1\n".utf8), "20301125T060000.000000Z-000007.ndjson")
    let sink = try sink()
    try await sink.write(messages(["2"]), to: .messages)
    try await sink.close()
    #expect(try StoredFiles(path).names.last == "20301125T060000.000000Z-000008.ndjson")
  }

  // MARK: Disturbed

  @Test func `a file that is deleted while it is written is noticed by the next batch`() async throws {
    let sink = try sink()
    try await sink.write(messages(["1"]), to: .messages)
    try run("/bin/sh", "-c", "rm \"$0\"/*", "\(path)/messages")
    try await sink.write(messages(["2"]), to: .messages)
    try run("/bin/rm", "-r", "\(path)/messages")
    try await sink.write(messages(["3"]), to: .messages)
    try await sink.close()
    #expect(try StoredFiles(path).lines() == ["3"])
  }

  @Test func `a file that is moved while it is written keeps what it has`() async throws {
    let sink = try sink(size: 4)
    try await sink.write(messages(["1"]), to: .messages)
    try run("/bin/sh", "-c", "mv \"$0\"/*.open \"$0\"/../moved", "\(path)/messages")
    try await sink.write(messages(["2"]), to: .messages)
    try await sink.write(messages(["3"]), to: .messages)
    try await sink.close()
    #expect(try String(contentsOfFile: "\(path)/moved", encoding: .utf8) == "1\n2\n")
    #expect(try StoredFiles(path).lines() == ["3"])
  }

  @Test func `two programs do not write one folder`() async throws {
    let first = try sink()
    #expect(
      performing: { try sink() },
      throws: { "\($0)".contains("process \(getpid()) writes there") && "\($0)".contains(path) })
    try await first.write(messages(["1"]), to: .messages)
    try await first.close()
    try await sink().close()
  }

  @Test func `after the end nothing is written`() async throws {
    let sink = try sink()
    try await sink.close()
    try await sink.close()
    await #expect(throws: SinkError.self) { try await sink.write(messages(["1"]), to: .messages) }
    #expect(try StoredFiles(path).names == [])
  }

  @Test func `what cannot be written to is said in words`() throws {
    try Data().write(to: URL(fileURLWithPath: folder.file("file")))
    for (path, words) in [
      (folder.file("none/streams"), "No such file or directory"),
      (folder.file("file"), "a file where a folder should be"),
      (folder.file("file/streams"), "a file where a folder should be"),
    ] {
      #expect(
        performing: { try FileSink(folder: path) },
        throws: { "\($0)".contains(words) && "\($0)".contains("cannot store in '\(path)'") })
    }
    #expect(performing: { try sink(size: 0) }, throws: { "\($0)".contains("at least 1") })
    #expect(performing: { try sink(time: .zero) }, throws: { "\($0)".contains("more than 0") })
  }
}

/// A clock that goes when it is told.
final class ManualTime: Sendable {
  /// It begins at 2026-11-25 07:00:00.123456 UTC.
  private let time = Atomic<Int64>(1_795_590_000_123_456)

  var now: Int64 { time.load(ordering: .relaxed) }

  func advance(_ microseconds: Int) { time.add(Int64(microseconds), ordering: .relaxed) }
}
