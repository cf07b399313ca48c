import Foundation

/// A PostgreSQL server of the test's own: a new cluster in a temporary folder, on a free port of the loopback address.
///
/// It ends with this object, and with the test process however that ends.
package final class PostgresServer: Sendable {
  /// Where it listens.
  package let port: Int
  private let folder: String
  private let data: String
  private let binaries: String
  private let watchdog: Watchdog

  /// Makes a cluster and starts it; a second or two.
  ///
  /// - Parameters:
  ///   - settings: Lines of `postgresql.conf`.
  ///   - tls: Whether all users but `postgres` have to use TLS and a password.
  ///   - writeAheadLog: A folder to be made for the log, in segments of a mebibyte; otherwise it is beside the data.
  /// - Throws: ``CommandFailure`` when it does not start.
  package init(settings: [String] = [], tls: Bool = false, writeAheadLog: String? = nil) async throws {
    folder = FileManager.default.temporaryDirectory.appendingPathComponent("postgres-\(UUID().uuidString)").path
    data = folder + "/data"
    binaries = try Self.binaries()
    port = try freePorts(1)[0]
    watchdog = try Watchdog(folder: folder)
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    let lines =
      settings + [
        "port = \(port)", "listen_addresses = '127.0.0.1'", "unix_socket_directories = '\(folder)'",
        "max_connections = 100", "shared_buffers = 16MB", "logging_collector = off", "ssl = \(tls ? "on" : "off")",
        // What kill -9 leaves behind is in the system's memory all the same.
        "fsync = off",
      ]
    if getuid() == 0 { try await command("/bin/chown", ["postgres", folder]) }
    let log = writeAheadLog.map { ["--wal-segsize=1", "-X", $0] } ?? []
    try await asOwner(
      binaries + "/initdb",
      ["-A", "trust", "--no-sync", "-U", "postgres", "-E", "UTF8", "--locale=C", "-D", data] + log)
    let configuration = FileHandle(forWritingAtPath: data + "/postgresql.conf")
    try configuration?.seekToEnd()
    try configuration?.write(contentsOf: Data(("\n" + lines.joined(separator: "\n") + "\n").utf8))
    try configuration?.close()
    if tls { try await guardUsers() }
    try await start()
  }

  private func guardUsers() async throws {
    // The names are those that the server looks for.
    try await asOwner(
      "/usr/bin/openssl",
      [
        "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "1",
        "-keyout", data + "/server.key", "-out", data + "/server.crt",
      ])
    let rules = "host all postgres 127.0.0.1/32 trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n"
    try Data(rules.utf8).write(to: URL(fileURLWithPath: data + "/pg_hba.conf"))
  }

  /// The one of a suite; started when it is first asked for.
  package static func shared() async throws -> PostgresServer { try await sharedServer.value }

  private static let sharedServer = Task { try await PostgresServer() }

  /// A URI of a database on it.
  package func uri(_ database: String = "postgres", user: String = "postgres") -> String {
    "postgres://\(user)@127.0.0.1:\(port)/\(database)"
  }

  /// Makes a database with a name of its own, so that tests can share the server; returns its URI.
  package func database() async throws -> String {
    let name = "test_\(UUID().uuidString.prefix(8).lowercased())"
    _ = try await sql("CREATE DATABASE \(name)")
    return uri(name)
  }

  /// Runs statements as another program does (`psql`), each a transaction of its own unless they say otherwise.
  ///
  /// - Returns: The rows, their values with `|` between them.
  @discardableResult
  package func sql(_ statements: String, uri: String? = nil) async throws -> [String] {
    let output = try await command(
      binaries + "/psql", ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-f", "-", uri ?? self.uri()],
      input: statements)
    return output.split(separator: "\n").map(String.init)
  }

  // MARK: What may happen to a server

  package func start() async throws {
    // The end of a process is seen when a descriptor that it was given is closed: the server must not inherit it.
    let script = #"for n in $(ls /proc/self/fd); do [ "$n" -gt 2 ] && eval "exec $n>&-"; done; exec "$@""#
    let start = [binaries + "/pg_ctl", "-w", "-s", "-t", "60", "-D", data, "-l", folder + "/log", "start"]
    try await asOwner("/bin/bash", ["-c", "(\(script)); exit", "bash"] + start)
  }

  package func stop() async throws {
    try await asOwner(binaries + "/pg_ctl", ["-w", "-s", "-m", "fast", "-D", data, "stop"])
  }

  /// Starts it until it answers: it may be recovering by itself, or have given up.
  package func recover() async throws {
    try await eventually("the server answers", within: .seconds(60)) {
      if (try? await sql("SELECT 1")) == ["1"] { return true }
      try? await start()
      return false
    }
  }

  package func restart() async throws {
    try await stop()
    try await start()
  }

  /// Stops all of its processes where they are, as on a machine that hangs: connections stay, and nothing answers.
  package func freeze() throws {
    for process in try processes() { kill(process, SIGSTOP) }
  }

  package func thaw() throws {
    for process in try processes().reversed() { kill(process, SIGCONT) }
  }

  /// kill -9 of all of its processes, as when its machine fails.
  package func crash() async throws {
    let processes = try processes()
    for process in processes { kill(process, SIGKILL) }
    try await eventually("the server's processes are gone") { processes.allSatisfy { kill($0, 0) != 0 } }
  }

  /// kill -9 of the processes that serve connections of this program; the server then ends all others and recovers.
  package func killBackends(of applicationName: String) async throws {
    let backends = try await sql("SELECT pid FROM pg_stat_activity WHERE application_name = '\(applicationName)'")
    for process in backends.compactMap(Int32.init) { kill(process, SIGKILL) }
    try await eventually("the server takes connections again") { (try? await sql("SELECT 1")) == ["1"] }
  }

  /// The first is the one that all others are children of.
  private func processes() throws -> [Int32] {
    let text = try String(contentsOfFile: data + "/postmaster.pid", encoding: .utf8)
    guard let first = text.split(separator: "\n").first.flatMap({ Int32($0) }) else { return [] }
    let children = try FileManager.default.contentsOfDirectory(atPath: "/proc").compactMap(Int32.init).filter {
      process in
      // "pid (name) state parent …", and a name may have spaces in it.
      let status = try? String(contentsOfFile: "/proc/\(process)/stat", encoding: .utf8)
      return status?.split(separator: ")").last?.split(separator: " ").dropFirst().first.flatMap { Int32($0) } == first
    }
    return [first] + children
  }

  // MARK: Commands

  /// Debian has the server's programs beside the path, by version.
  private static func binaries() throws -> String {
    let folder = "/usr/lib/postgresql"
    let versions = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
    guard let newest = versions.compactMap(Int.init).max() else {
      throw CommandFailure(description: "PostgreSQL's server is not installed: make test-tools")
    }
    return "\(folder)/\(newest)/bin"
  }

  /// The server refuses to run as root.
  private func asOwner(_ program: String, _ arguments: [String]) async throws {
    if getuid() == 0 {
      try await command("/sbin/runuser", ["-u", "postgres", "--", program] + arguments)
    } else {
      try await command(program, arguments)
    }
  }
}

/// Ends the server and removes its folder when it is let go of, or when the test process has ended, whatever ended that: a process
/// of its own that waits for the end of a pipe.
private final class Watchdog: Sendable {
  private let pipe = Pipe()
  private let process = Process()

  init(folder: String) throws {
    _ = fcntl(pipe.fileHandleForWriting.fileDescriptor, F_SETFD, FD_CLOEXEC)
    let script = """
      cat >/dev/null
      if pid=$(head -n 1 "$0/data/postmaster.pid"); then
        # Its children end with it, those that are frozen after five seconds.
        kill -QUIT "$pid"
        kill -CONT "$pid"
        while kill -0 "$pid"; do sleep 0.2; done
      fi
      rm -rf "$0"
      """
    process.executableURL = URL(fileURLWithPath: "/bin/sh")
    process.arguments = ["-c", script, folder]
    process.standardInput = pipe
    process.standardOutput = FileHandle.nullDevice
    process.standardError = FileHandle.nullDevice
    try process.run()
  }

  deinit {
    try? pipe.fileHandleForWriting.close()
  }
}
