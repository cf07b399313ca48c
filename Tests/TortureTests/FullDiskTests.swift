import AggregatorTestSupport
import Foundation
import GRDB
import Testing

/// Real disks run full while clients send: nothing acknowledged is lost, nobody is answered anything but 503 or 202 meanwhile, and
/// when there is room again it goes on without a restart.
@Suite("Full disks", .enabled(if: SmallDisk.isPossible, "only root can mount a small disk"), .serialized)
struct FullDiskTests {
  private let folder: TemporaryFolder

  init() throws {
    folder = try TemporaryFolder()
  }

  /// How often the disk runs full.
  private static var times: Int { TortureSize.isFull ? 20 : 2 }

  /// Fills the disk, waits until clients are turned away, and makes room; several times.
  private func fill(_ disk: SmallDisk, _ clients: Clients, times: Int = Self.times) async throws {
    for _ in 0..<times {
      try disk.fill()
      let before = clients.result.statuses[503] ?? 0
      try await eventually("clients are turned away") { clients.result.statuses[503] ?? 0 > before + 20 }
      let acknowledged = clients.result.identities.count
      try disk.makeRoom()
      try await eventually("it goes on") { clients.result.identities.count > acknowledged + 20 }
    }
  }

  /// Fills the disk for a while in which clients are still answered.
  private func fill(_ disk: SmallDisk, _ clients: Clients, behind journal: String) async throws {
    for _ in 0..<Self.times {
      try disk.fill()
      let before = clients.result.statuses[202] ?? 0
      try await eventually("the journal takes what the store cannot") {
        clients.result.statuses[202] ?? 0 > before + 20
      }
      try disk.makeRoom()
      try await eventually("the journal is empty again") { try await count("journal", in: journal) < 20 }
    }
  }

  private func count(_ table: String, in path: String) async throws -> Int {
    try await DatabaseQueue(path: path).read { try Int.fetchOne($0, sql: "SELECT count(*) FROM \(table)") } ?? 0
  }

  private func identities(_ path: String) async throws -> [String] {
    try await DatabaseQueue(path: path).read { try String.fetchAll($0, sql: "SELECT identity FROM messages") }
  }

  @Test func `the disk of SQLite`() async throws {
    try await SmallDisk.use(mebibytes: 32) { disk in
      let path = disk.file("messages.db")
      let program = try RestartableProgram(["--to", "sqlite:\(path)", "--max-backoff", "200ms"])
      let result = try await underLoad(program, statuses: [200, 503]) { try await fill(disk, $0) }
      expectOnce(result.identities, in: try await identities(path))
    }
  }

  @Test func `the disk of SQLite behind a journal`() async throws {
    try await SmallDisk.use(mebibytes: 32) { disk in
      let (path, journal) = (disk.file("messages.db"), folder.file("journal.db"))
      let program = try RestartableProgram([
        "--to", "sqlite:\(path)", "--max-backoff", "200ms", "--journal", journal, "--answer-timeout", "200ms",
      ])
      let result = try await underLoad(program, statuses: [200, 202, 503]) {
        try await fill(disk, $0, behind: journal)
      }
      expectOnce(result.identities, in: try await identities(path))
    }
  }

  @Test func `the disk of the journal`() async throws {
    try await SmallDisk.use(mebibytes: 32) { disk in
      let path = folder.file("messages.db")
      let program = try RestartableProgram([
        "--to", "sqlite:\(path)", "--max-backoff", "200ms", "--journal", disk.file("journal.db"),
      ])
      let result = try await underLoad(program, statuses: [202, 503], prefersAsync: true) { clients in
        // The store is away meanwhile: while it takes messages, the journal goes on in the room that it has already.
        var configuration = Configuration()
        configuration.allowsUnsafeTransactions = true
        configuration.busyMode = .timeout(10)
        let owner = try DatabaseQueue(path: path, configuration: configuration)
        for _ in 0..<Self.times {
          try await owner.writeWithoutTransaction { try $0.execute(sql: "BEGIN IMMEDIATE") }
          try await fill(disk, clients, times: 1)
          try await owner.writeWithoutTransaction { try $0.execute(sql: "ROLLBACK") }
          try await eventually("the journal is empty again") {
            try await count("journal", in: disk.file("journal.db")) < 20
          }
        }
      }
      expectOnce(result.identities, in: try await identities(path))
    }
  }

  @Test(arguments: [false, true])
  func `the disk of PostgreSQL's tables`(journal: Bool) async throws {
    try await SmallDisk.use(mebibytes: 32) { disk in
      let server = try await PostgresServer()
      let uri = try await server.database()
      try await command("/bin/chown", ["postgres", disk.path])
      try await command("/bin/mkdir", ["-m", "700", disk.file("tables")])
      try await command("/bin/chown", ["postgres", disk.file("tables")])
      try await server.sql("CREATE TABLESPACE small LOCATION '\(disk.file("tables"))'")
      try await server.sql("ALTER ROLE postgres SET default_tablespace = small", uri: uri)
      var arguments = ["--to", uri, "--store-timeout", "2s", "--max-backoff", "200ms"]
      if journal { arguments += ["--journal", folder.file("journal.db"), "--answer-timeout", "200ms"] }
      let program = try RestartableProgram(arguments)
      let result = try await underLoad(program, statuses: journal ? [200, 202, 503] : [200, 503]) {
        if journal {
          try await fill(disk, $0, behind: folder.file("journal.db"))
        } else {
          try await fill(disk, $0)
        }
      }
      expectOnce(result.identities, in: try await server.sql("SELECT identity FROM messages", uri: uri))
      // The server must not have its files taken away under it.
      try await server.stop()
    }
  }

  /// PostgreSQL ends by a panic then, all its processes, and does not come up again while there is no room.
  @Test(arguments: [false, true])
  func `the disk of PostgreSQL's write-ahead log`(journal: Bool) async throws {
    try await SmallDisk.use(mebibytes: 32) { disk in
      try await command("/bin/chown", ["postgres", disk.path])
      // Each segment is a new file, so that it needs room.
      let server = try await PostgresServer(
        settings: ["wal_recycle = off", "max_wal_size = 16MB", "min_wal_size = 2MB"], writeAheadLog: disk.file("wal"))
      let uri = try await server.database()
      var arguments = ["--to", uri, "--store-timeout", "2s", "--max-backoff", "200ms"]
      if journal { arguments += ["--journal", folder.file("journal.db"), "--answer-timeout", "200ms"] }
      let program = try RestartableProgram(arguments)
      let result = try await underLoad(program, statuses: journal ? [200, 202, 503] : [200, 503]) { clients in
        for _ in 0..<Self.times {
          try disk.fill()
          try await eventually("the server is down", within: .seconds(60)) {
            (try? await server.sql("SELECT 1")) != ["1"]
          }
          let refused = clients.result.statuses[journal ? 202 : 503] ?? 0
          try await eventually("clients are told so") {
            clients.result.statuses[journal ? 202 : 503] ?? 0 > refused + 20
          }
          let acknowledged = clients.result.identities.count
          try disk.makeRoom()
          try await server.recover()
          try await eventually("it goes on", within: .seconds(60)) {
            clients.result.identities.count > acknowledged + 20
          }
        }
      }
      expectOnce(result.identities, in: try await server.sql("SELECT identity FROM messages", uri: uri))
      try await server.stop()
    }
  }
}
