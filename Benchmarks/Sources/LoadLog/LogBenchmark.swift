import Foundation
import LoadSupport

/// An edge that fills a log, and members that store it in PostgreSQL: messages a second, and what each part takes of a processor.
///
///     LoadLog PROGRAM [MESSAGES [SERVERS [MEMBERS [ROUNDS [MOCK]]]]]
///
/// The log is a stream of JetStream, or a topic of Kafka's mock cluster where that is given. Messages have 200 bytes. With batch
/// size 1 a fiftieth of them is stored. Members begin when all of them have their first batch; each run has a durable consumer, or
/// a group, and a database of its own, and what it has stored is counted.
struct LogBenchmark {
  let program: String
  let messages: Int
  let rounds: Int
  /// The program of Kafka's mock cluster; `nil` for JetStream.
  let mock: String?
  let folder: URL
  let postgres: PostgresServer

  /// A run's figures.
  struct Figures {
    var rate: Double
    /// Microseconds of processor time of a message.
    var costs: [Double]
    /// Bytes on loopback of a message, all ways together.
    var bytes: Double
  }

  /// What has been taken so far, in all parts.
  private struct Meter {
    let processors: [Double]
    let bytes: Double

    init(_ parts: [[Int32]]) {
      processors = parts.map { System.processorTime(of: $0) }
      bytes = System.loopbackBytes
    }

    func figures(since before: Meter, messages: Int, seconds: Double) -> Figures {
      Figures(
        rate: Double(messages) / max(seconds, 1e-9),
        costs: zip(processors, before.processors).map { ($0 - $1) * 1e6 / Double(messages) },
        bytes: (bytes - before.bytes) / Double(messages))
    }
  }

  init(program: String, messages: Int, rounds: Int, mock: String?) throws {
    self.mock = mock
    // Whole bodies.
    self.messages = max(messages / Self.bodySize, 2) * Self.bodySize
    self.program = program
    self.rounds = rounds
    folder = URL(filePath: NSTemporaryDirectory()).appending(path: "aggregator-load-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    postgres = try PostgresServer(in: folder)
  }

  static let bodySize = 1_000
  static let messageSize = 200

  static func run(_ arguments: [String]) throws {
    guard let program = arguments.first else {
      print(
        "usage: LoadLog PROGRAM [MESSAGES [SERVERS [MEMBERS [ROUNDS [MOCK]]]]], such as LoadLog aggregator 200000 1,3 1,2,3 3"
      )
      exit(2)
    }
    func numbers(_ place: Int, _ others: [Int]) -> [Int] {
      arguments.count > place ? arguments[place].split(separator: ",").compactMap { Int($0) } : others
    }
    let benchmark = try LogBenchmark(
      program: program, messages: numbers(1, [100_000])[0], rounds: numbers(4, [1])[0],
      mock: arguments.count > 5 ? arguments[5] : nil)
    defer { try? FileManager.default.removeItem(at: benchmark.folder) }
    try benchmark.run(servers: numbers(2, [1, 3]), members: numbers(3, [1, 2, 3]))
  }

  func run(servers counts: [Int], members: [Int]) throws {
    let cores = ProcessInfo.processInfo.activeProcessorCount
    let log = mock == nil ? "JetStream" : "Kafka's mock"
    var published =
      "| servers | messages a second | edge | \(log) | network | disk of each server |\n|---:|---:|---:|---:|---:|---:|"
    var stored =
      "| servers | members | batch size | messages a second | members | \(log) | PostgreSQL | network |\n"
      + "|---:|---:|---:|---:|---:|---:|---:|---:|"
    for count in counts {
      let servers: any LogServers =
        if let mock { try KafkaServers(mock, brokers: count) } else { try NATSServers(count, in: folder) }
      published += "\n| \(count) | " + Self.row(try fill(servers))
      published += " \(try servers.diskBytes().map { grouped($0 / Double(messages)) } ?? "none") |"
      for members in members {
        for batchSize in [500, 1] {
          let part = batchSize == 1 ? max(messages / 50, 500) : messages
          let runs = try (0..<rounds).map { _ in
            try store(servers, members: members, batchSize: batchSize, messages: min(part, messages))
          }
          stored += "\n| \(count) | \(members) | \(batchSize) | " + Self.row(Self.middle(of: runs))
        }
      }
    }
    print(
      "\(cores) cores for all of it, \(messages) messages of \(Self.messageSize) bytes, databases on \(System.fileSystem()); "
        + "medians of \(rounds). Edge, members, \(log), PostgreSQL: µs of processor time a message. Network: bytes on loopback a message, of all together. "
        + "Disk: bytes a message.\n\nInto the log, by one edge that takes "
        + "bodies of \(Self.bodySize) messages from 4 clients:\n\n\(published)\n\nOut of it, into PostgreSQL:\n\n\(stored)"
    )
  }

  private static func row(_ figures: Figures) -> String {
    let costs = figures.costs.map { String(format: "%.1f", $0) }
    return ([grouped(figures.rate)] + costs + [grouped(figures.bytes)]).joined(separator: " | ")
      + " |"
  }

  private static func middle(of runs: [Figures]) -> Figures {
    Figures(
      rate: median(runs.map(\.rate)),
      costs: runs[0].costs.indices.map { index in median(runs.map { $0.costs[index] }) },
      bytes: median(runs.map(\.bytes)))
  }

  // MARK: Into the log

  private func fill(_ servers: any LogServers) throws -> Figures {
    let port = try freePort()
    let edge = try Program(program, ["--from", "http://127.0.0.1:\(port)", "--to"] + servers.target, in: folder)
    try edge.wait(for: /taking messages/)
    let parts = [[edge.process.processIdentifier], servers.processes]
    // The first ones wait for leaders to be elected.
    try send(to: port, bodies: 1)
    let before = Meter(parts)
    let began = ContinuousClock.now
    let bodies = messages / Self.bodySize - 1
    try send(to: port, bodies: bodies)
    let seconds = (ContinuousClock.now - began) / .seconds(1)
    let figures = Meter(parts).figures(since: before, messages: max(bodies, 1) * Self.bodySize, seconds: seconds)
    try edge.stop()
    return figures
  }

  /// Four clients that each send a body, wait for its answer, and send the next.
  ///
  /// Bodies are the same: what tells messages apart is their place in the log. Their keys are many, and so in all partitions.
  private func send(to port: Int, bodies: Int) throws {
    let file = folder.appending(path: "body").path()
    let lines = (0..<Self.bodySize).map { number in
      let start = #"{"key":"\#(number)","text":""#
      return start + String(repeating: "x", count: Self.messageSize - start.utf8.count - 2) + "\"}\n"
    }
    try Data(lines.joined().utf8).write(to: URL(filePath: file))
    let clients = min(4, bodies)
    let programs = try (0..<clients).map { client in
      let count = bodies / clients + (client < bodies % clients ? 1 : 0)
      // One connection for all.
      return try Program(
        "/usr/bin/curl",
        [
          "--silent", "--show-error", "--fail-with-body", "--output", "/dev/null", "--header", "Expect:", "--header",
          "Content-Type: application/x-ndjson", "--data-binary", "@\(file)",
          "http://127.0.0.1:\(port)/v1/messages?n=[1-\(count)]",
        ], in: folder)
    }
    for program in programs { try program.finish() }
  }

  // MARK: Out of it

  private func store(_ servers: any LogServers, members count: Int, batchSize: Int, messages: Int) throws -> Figures {
    try postgres.begin()
    try postgres.makeTable()
    let source = servers.source(named: "d\(UUID().uuidString.prefix(8))")
    let members = try (0..<count).map { member in
      try Program(
        program,
        [
          "--from", source, "--to", "\(postgres.uri)?application_name=member\(member)",
          "--batch-size", "\(batchSize)", "--store-timeout", "60s",
        ], in: folder)
    }
    let parts = [members.map(\.process.processIdentifier), servers.processes, postgres.processes]
    let before = Meter(parts)
    let seconds = try postgres.time(writers: count, messages: messages)
    let figures = Meter(parts).figures(since: before, messages: messages, seconds: seconds)
    for member in members { try member.stop() }
    let found = try postgres.sql("SELECT count(*), count(DISTINCT identity) FROM messages").split(separator: "|")
    guard found.count == 2, found[0] == found[1], let rows = Int(found[0]),
      messages == self.messages ? rows == messages : rows >= messages
    else { throw LoadError(description: "the database has \(found), expected: \(messages)") }
    return figures
  }
}
