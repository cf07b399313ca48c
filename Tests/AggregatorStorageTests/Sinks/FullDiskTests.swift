import AggregatorStorage
import AggregatorTestSupport
import Foundation
import Testing

/// On a real file system that is full.
///
/// Only root can mount one; elsewhere these do not run.
@Suite("Full disk", .enabled(if: SmallDisk.isPossible), .serialized)
struct FullDiskTests {
  @Test(arguments: [false, true])
  func `a batch that does not fit is not stored, and when there is room it is`(compresses: Bool) async throws {
    try await SmallDisk.use { smallDisk in
      let disk = smallDisk.path
      let sink = try FileSink(folder: "\(disk)/streams", compresses: compresses)
      try await sink.write(messages(["1"]), to: .messages)
      let large = messages((0..<3_000).map { _ in "\"\(UUID().uuidString)\(UUID().uuidString)\(UUID().uuidString)\"" })
      // So that a good part of it finds room.
      try Data(count: 900 << 10).write(to: URL(fileURLWithPath: "\(disk)/filler"))
      let error = await #expect(throws: SinkError.self) { try await sink.write(large, to: .messages) }
      #expect(error?.isRetryable == true)
      #expect(error?.description.contains("the disk is full") == true)
      #expect(try StoredFiles("\(disk)/streams").lines() == ["1"])
      // There is room for a small one.
      try await sink.write(messages(["2"]), to: .messages)
      try Data().write(to: URL(fileURLWithPath: "\(disk)/filler"))
      try await sink.write(large, to: .messages)
      try await sink.close()
      #expect(try StoredFiles("\(disk)/streams").lines() == ["1", "2"] + large.map(\.body))
    }
  }

  @Test func `check finds out, and a file that cannot even be made is made later`() async throws {
    try await SmallDisk.use { smallDisk in
      let disk = smallDisk.path
      let sink = try FileSink(folder: "\(disk)/streams")
      try await sink.check()
      try smallDisk.fill()
      let error = await #expect(throws: SinkError.self) { try await sink.check() }
      #expect(error?.description.contains("the disk is full") == true)
      await #expect(throws: SinkError.self) { try await sink.write(messages(["1"]), to: .messages) }
      try smallDisk.makeRoom()
      try await sink.check()
      try await sink.write(messages(["1"]), to: .messages)
      try await sink.close()
      #expect(try StoredFiles("\(disk)/streams").lines() == ["1"])
    }
  }

  @Test(arguments: [0, O_APPEND])
  func `standard output that was led into a file is cut back to where the batch began`(flag: Int32) async throws {
    try await SmallDisk.use { smallDisk in
      let disk = smallDisk.path
      let path = "\(disk)/output"
      try Data((flag == O_APPEND ? "what was there\n" : "").utf8).write(to: URL(fileURLWithPath: path))
      let descriptor = open(path, O_WRONLY | flag)
      let sink = StandardOutputSink(descriptor: descriptor)
      let large = messages(["2", "\"\(String(repeating: "x", count: 2 << 20))\""])
      let error = await #expect(throws: SinkError.self) { try await sink.write(large, to: .messages) }
      #expect(error?.isRetryable == true)
      try await sink.write(messages(["3"]), to: .messages)
      await #expect(throws: SinkError.self) { try await sink.write(large, to: .messages) }
      close(descriptor)
      let expected = (flag == O_APPEND ? "what was there\n" : "") + "3\n"
      #expect(try String(contentsOfFile: path, encoding: .utf8) == expected)
    }
  }
}
