import Foundation
import LoadSupport

enum StoreKind: String, CaseIterable {
  case sqlite
  case postgres

  var name: String { self == .sqlite ? "SQLite" : "PostgreSQL" }
}

/// A new store for one run, in a folder of its own.
protocol Store: AnyObject {
  /// What `--to` names.
  var target: String { get }
  /// What it is, in words.
  var settings: String { get }
  /// A command that writes ``Audit/record`` of each message that is stored.
  var records: [String] { get }
  /// Ends it and removes its files.
  func remove()
}

final class SQLiteStore: Store {
  private let folder: URL
  private var path: String { folder.appending(path: "messages.db").path() }

  init() throws {
    folder = try temporaryFolder()
  }

  deinit { remove() }

  var target: String { "sqlite:\(path)" }
  var settings: String {
    let version = (try? output(of: ["sqlite3", "--version"]))?.split(separator: " ").first ?? "?"
    return "SQLite \(version) with a write-ahead log and `synchronous=FULL`"
  }
  var records: [String] { ["sqlite3", path, "SELECT \(Audit.record("body")) FROM messages"] }

  func remove() { try? FileManager.default.removeItem(at: folder) }
}

/// A server of its own with the settings that it has by default: `fsync` and `synchronous_commit` are on.
final class PostgresStore: Store {
  private let folder: URL
  private let port: Int
  private let process = Process()
  /// The server ends when this is closed, however this program ends.
  private let life = Pipe()
  private static let binaries: String? = {
    let folder = "/usr/lib/postgresql"
    let versions = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
    return versions.compactMap { Int($0) }.max().map { "\(folder)/\($0)/bin" }
  }()

  init() throws {
    guard let binaries = Self.binaries else {
      throw LoadError(description: "PostgreSQL's server is not installed: apt-get install postgresql")
    }
    folder = try temporaryFolder()
    port = try freePort()
    let data = folder.appending(path: "data").path()
    if getuid() == 0 { _ = try output(of: ["chown", "postgres", folder.path()]) }
    _ = try output(of: Self.owner + ["\(binaries)/initdb", "-A", "trust", "-U", "postgres", "-E", "UTF8", "-D", data])
    _ = fcntl(life.fileHandleForWriting.fileDescriptor, F_SETFD, FD_CLOEXEC)
    let script = #""$0" "$@" & server=$!; cat; kill -INT $server; wait $server"#
    let server = [
      "\(binaries)/postgres", "-D", data, "-p", "\(port)", "-c", "listen_addresses=127.0.0.1", "-k", folder.path(),
    ]
    process.executableURL = URL(filePath: "/usr/bin/env")
    process.arguments = Self.owner + ["sh", "-c", script] + server
    process.standardInput = life
    process.standardOutput = FileHandle.nullDevice
    process.standardError = FileHandle.nullDevice
    try process.run()
    for _ in 0..<600 where process.isRunning {
      if (try? sql("SELECT 1")) == "1" { return }
      usleep(100_000)
    }
    throw LoadError(description: "PostgreSQL's server does not start")
  }

  deinit { remove() }

  /// The server refuses to run as root.
  private static var owner: [String] { getuid() == 0 ? ["runuser", "-u", "postgres", "--"] : [] }

  var target: String { "postgres://postgres@127.0.0.1:\(port)/postgres" }
  var settings: String {
    let names = ["server_version", "fsync", "synchronous_commit", "shared_buffers"]
    let values = names.map { (try? sql("SHOW \($0)")) ?? "?" }
    let version = values[0].split(separator: " ").first ?? "?"
    return "PostgreSQL \(version) as it is by default (`fsync=\(values[1])`, `synchronous_commit=\(values[2])`, "
      + "`shared_buffers=\(values[3])`)"
  }
  var records: [String] { psql("COPY (SELECT \(Audit.record("body::text")) FROM messages) TO STDOUT") }

  func remove() {
    try? life.fileHandleForWriting.close()
    if process.isRunning { process.waitUntilExit() }
    try? FileManager.default.removeItem(at: folder)
  }

  private func psql(_ statement: String) -> [String] {
    ["\(Self.binaries ?? "")/psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", statement, target]
  }

  private func sql(_ statement: String) throws -> String { try output(of: psql(statement)) }
}

private func temporaryFolder() throws -> URL {
  let folder = URL(filePath: NSTemporaryDirectory()).appending(path: "aggregator-load-\(UUID().uuidString)")
  try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
  return folder
}
