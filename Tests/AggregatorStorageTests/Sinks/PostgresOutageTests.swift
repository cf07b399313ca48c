import AggregatorTestSupport
import Foundation
import Logging
import Synchronization
import Testing

@testable import AggregatorStorage

/// Servers that stop, freeze, crash and run full under a sink that is not made anew.
@Suite("PostgreSQL outages")
struct PostgresOutageTests {
  private func sink(_ uri: String, connections: Int = 1, timeout: Duration = .seconds(30)) throws -> PostgresSink {
    try PostgresSink(
      uri: uri, connections: connections, logger: Logger(label: "tests") { _ in SwiftLogNoOpLogHandler() },
      timeout: timeout)
  }

  private func message(_ body: String, identity: String? = nil) -> Message {
    Message(body: body, receivedAt: 7, identity: identity)
  }

  /// Tries until it works, as the library does; each failure has to be one that passes.
  private func retrying(_ call: () async throws -> Void) async throws {
    try await eventually("the server works again") {
      do {
        try await call()
        return true
      } catch let error as SinkError {
        #expect(error.isRetryable, "\(error)")
        return false
      }
    }
  }

  @Test func `a server that stops and starts, or only starts again, is gone on with`() async throws {
    let server = try await PostgresServer()
    let sink = try sink(server.uri(), connections: 3)
    try await sink.write([message("1")], to: .messages)
    try await server.stop()
    for _ in 0..<3 {
      let error = await #expect(throws: SinkError.self) { try await sink.write([message("2")], to: .messages) }
      #expect(error?.isRetryable == true)
      await #expect(throws: SinkError.self) { try await sink.check() }
    }
    try await server.start()
    try await sink.check()
    try await sink.write([message("2")], to: .messages)
    try await server.restart()
    // The connection that it had is found to be closed, before anything is sent on it.
    try await sink.write([message("3")], to: .messages)
    #expect(try await server.sql("SELECT body FROM messages ORDER BY id") == ["1", "2", "3"])
    try await sink.close()
  }

  @Test func `a server that is frozen is given up in time, and gone on with when it thaws`() async throws {
    let server = try await PostgresServer()
    let sink = try sink(server.uri(), connections: 2, timeout: .seconds(2))
    let patient = try self.sink(server.uri(), timeout: .seconds(600))
    for sink in [sink, patient] {
      try await retrying { try await sink.write([message("1", identity: "1")], to: .messages) }
    }
    try server.freeze()
    do {
      defer { try? server.thaw() }
      // On the connections that are there, and on new ones, which the frozen server's machine still accepts.
      for _ in 0..<3 {
        let error = await #expect(throws: SinkError.self) {
          try await sink.write([message("2", identity: "2")], to: .messages)
        }
        #expect(error?.isRetryable == true)
        #expect(error?.description.contains("in time") == true)
      }
      await #expect(throws: SinkError.self) { try await sink.check() }
      let large = message("\"\(String(repeating: "x", count: 32 << 20))\"")
      for batch in [[message("2", identity: "2")], [large]] {
        let waiting = Task { try await patient.write(batch, to: .messages) }
        // It may be cancelled before or after it is sent: both have to end.
        try await Task.sleep(for: .milliseconds(100))
        waiting.cancel()
        await #expect(throws: CancellationError.self) { try await waiting.value }
      }
    }
    for sink in [sink, patient] {
      try await retrying { try await sink.write([message("2", identity: "2")], to: .messages) }
    }
    try await sink.check()
    #expect(try await server.sql("SELECT body FROM messages ORDER BY id") == ["1", "2"])
    try await sink.close()
    try await patient.close()
  }

  @Test func `a table that another program has locked fails in time, and what was tried is not stored later`()
    async throws
  {
    let server = try await PostgresServer()
    let sink = try sink(server.uri(), timeout: .seconds(1))
    try await retrying { try await sink.prepare(.messages) }
    async let locking = try? server.sql("BEGIN; LOCK TABLE messages; SELECT pg_sleep(60)")
    try await eventually("it is locked") {
      try await server.sql("SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted") != ["0"]
    }
    let error = await #expect(throws: SinkError.self) { try await sink.write([message("1")], to: .messages) }
    #expect(error?.isRetryable == true)
    // The server gives up (57014), or this side does if the machine is slow.
    #expect(error?.description.contains(/57014|in time/) == true, "\(String(describing: error))")
    try await server.sql("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(60)%'")
    _ = await locking
    try await retrying { try await sink.write([message("2")], to: .messages) }
    #expect(try await server.sql("SELECT body FROM messages") == ["2"])
    try await sink.close()
  }

  @Test func `what a server had when it was killed is stored once, if messages have identities`() async throws {
    let server = try await PostgresServer()
    let sink = try sink(server.uri(), connections: 2)
    // It goes on until the last outage is over, however fast the machine is.
    let isOver = Atomic(false)
    let writing = Task {
      var count = 0
      while !isOver.load(ordering: .relaxed) {
        let batch = (count..<count + 5).map { message("\($0)", identity: "\($0)") }
        try await retrying { try await sink.write(batch, to: .messages) }
        count += 5
      }
      return count
    }
    for round in 0..<4 {
      try await eventually("it writes") {
        Int(try await server.sql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'aggregator'")[0]) ?? 0
          > 0
      }
      if round % 2 == 0 {
        try await server.killBackends(of: "aggregator")
      } else {
        try await server.crash()
        try await server.start()
      }
    }
    isOver.store(true, ordering: .relaxed)
    let count = try await writing.value
    #expect(try await server.sql("SELECT body FROM messages ORDER BY id").elementsEqual((0..<count).map(String.init)))
    try await sink.close()
  }

  @Test(.enabled(if: getuid() == 0, "only root can mount a disk that is small"))
  func `a full disk is told, nothing of the batch is stored, and it goes on when there is room`() async throws {
    let server = try await PostgresServer()
    let disk = try await TableSpaceDisk()
    do {
      try await server.sql("CREATE TABLESPACE small LOCATION '\(disk.path)'")
      let sink = try sink(server.uri() + "?options=-cdefault_tablespace%3Dsmall")
      try await sink.write([message("1")], to: .messages)
      try disk.fill()
      let large = (0..<100).map { message("\"\(String(repeating: "x", count: 1_000))\($0)\"") }
      for _ in 0..<2 {
        let error = await #expect(throws: SinkError.self) { try await sink.write(large, to: .messages) }
        #expect(error?.isRetryable == true)
        #expect(error?.description.contains("SQLSTATE 53100") == true, "\(String(describing: error))")
      }
      #expect(try await server.sql("SELECT count(*) FROM messages") == ["1"])
      try disk.makeRoom()
      try await sink.write(large, to: .messages)
      #expect(try await server.sql("SELECT count(*) FROM messages") == ["101"])
      try await sink.close()
      try await server.stop()
    } catch {
      try? await disk.unmount()
      throw error
    }
    try await disk.unmount()
  }
}

/// A file system of two megabytes.
private final class TableSpaceDisk: Sendable {
  private let folder: TemporaryFolder
  /// A folder on it that belongs to the server.
  var path: String { folder.file("disk/space") }
  private var filler: String { folder.file("disk/filler") }

  init() async throws {
    folder = try TemporaryFolder()
    try FileManager.default.createDirectory(atPath: folder.file("disk"), withIntermediateDirectories: true)
    try await command("/bin/mount", ["-t", "tmpfs", "-o", "size=2m", "tmpfs", folder.file("disk")])
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    try await command("/bin/chown", ["postgres", path])
  }

  func fill() throws {
    #expect(FileManager.default.createFile(atPath: filler, contents: nil))
    let file = try #require(FileHandle(forWritingAtPath: filler))
    while (try? file.write(contentsOf: Data(repeating: 0, count: 4_096))) != nil {}
    try? file.close()
  }

  func makeRoom() throws {
    try FileManager.default.removeItem(atPath: filler)
  }

  func unmount() async throws {
    try await command("/bin/umount", ["-l", folder.file("disk")])
  }
}
