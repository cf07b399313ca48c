import AggregatorTestSupport
import Foundation
import GRDB
import HTTPTypes
import HummingbirdTesting
import NIOCore
import Synchronization
import Testing

@testable import AggregatorService

/// The page of the real program, under real traffic, in a real browser: the numbers that it shows are those that were sent.
@Suite("Page of the program", .serialized, .timeLimit(.minutes(5)))
struct LivePageTests {
  private let folder: TemporaryFolder
  private let program: ProgramProcess
  private var path: String { folder.file("messages.db") }

  init() throws {
    folder = try TemporaryFolder()
    program = try ProgramProcess([
      "--from", "http://127.0.0.1:0", "--to", "sqlite:\(folder.file("messages.db"))", "--admin", "http://127.0.0.1:0",
      "--journal", folder.file("journal.db"), "--linger", "20ms", "--answer-timeout", "500ms", "--max-backoff", "300ms",
    ])
  }

  /// Changes tables as their owner does, beside the program.
  private func change(_ sql: String) async throws {
    var configuration = Configuration()
    configuration.busyMode = .timeout(20)
    try await DatabaseQueue(path: path, configuration: configuration).write { try $0.execute(sql: sql) }
  }

  private func stored(_ table: String) async throws -> Int {
    try await DatabaseQueue(path: path).read { database in
      guard try database.tableExists(table) else { return 0 }
      return try Int.fetchOne(database, sql: "SELECT count(*) FROM \(table)") ?? 0
    }
  }

  private func adminPort() async throws -> Int {
    var found: Int?
    try await eventually("it can be watched") {
      found = program.errors.firstMatch(of: /to be watched at http:\/\/[^\/]*:(\d+)\//).flatMap { Int($0.1) }
      return found != nil
    }
    return try #require(found)
  }

  /// How many batches each trigger has, as the table on the page says.
  private func triggers(_ browser: Browser) async throws -> [String: Int] {
    let rows =
      try await browser.run(
        "return [...document.querySelectorAll('#triggers tr')].map(row => [row.dataset.trigger, row.cells[2].textContent])"
      )
      as? [[String]] ?? []
    return rows.reduce(into: [:]) { $0[$1[0]] = Int($1[1].replacing(",", with: "")) ?? 0 }
  }

  private func number(_ id: String, _ browser: Browser) async throws -> Int {
    Int(try await browser.text(id).replacing(",", with: "")) ?? -1
  }

  /// Keeps pictures in all forms, where pictures are wanted.
  private func keepPictures(_ name: String, _ browser: Browser) async throws {
    guard Browser.keepsPictures else { return }
    for scheme in ["light", "dark"] {
      try await browser.prefer(["prefers-color-scheme": scheme, "prefers-reduced-motion": "reduce"])
      for (form, width, height) in [("phone", 360, 2_300), ("wide", 1_180, 1_500)] {
        try await browser.resize(width: width, height: height)
        try await browser.keepPicture("program-\(name)-\(form)-\(scheme)")
      }
    }
  }

  @Test func `numbers are those that were sent, and it says which limit binds`() async throws {
    let traffic = Traffic(port: try await program.port())
    let address = "http://127.0.0.1:\(try await adminPort())/"
    // So that there are tables whose owner can change them.
    for stream in ["orders", "audit"] { try await traffic.send("1", to: stream) }
    try await eventually("they are there") { try await (stored("orders"), stored("audit")) == (1, 1) }
    try await change(
      """
      CREATE TRIGGER picky BEFORE INSERT ON audit WHEN new.body LIKE '%refused%'
      BEGIN SELECT RAISE(ABORT, 'the owner does not want it'); END
      """)
    try await Browser.use { browser in
      try await browser.resize(width: 1_180, height: 1_500)
      try await browser.open(address)
      let sending = Task { try await traffic.run() }
      try await looksBusy(browser)
      try await looksBackingOff(browser)
      try await looksRefused(browser, traffic)
      traffic.stop()
      try await sending.value
      try await looksDone(browser, traffic.sent)
      for (stream, count) in traffic.sent {
        try await browser.open("\(address)#\(stream)")
        try await eventually("\(stream) is shown") { try await number("received", browser) == count }
      }
      #expect(try await browser.console() == [])
    }
    for (stream, count) in traffic.sent {
      #expect(try await stored(stream) == count - (stream == "audit" ? Self.refused : 0))
    }
    program.signal(SIGTERM)
    #expect(try await program.exit() == .init(status: 0))
  }

  private static let refused = 3

  private func looksBusy(_ browser: Browser) async throws {
    try await eventually("it says that it stores") {
      let word = try await browser.text("state-word")
      return ["Storing", "Filling"].contains(word)
    }
    try await eventually("all streams are there, and numbers move") {
      let streams = try await browser.run("return [...document.querySelectorAll('#streams b')].map(b => b.textContent)")
      let rates = (try await number("rate-in", browser), try await number("rate-out", browser))
      return streams as? [String] == ["All streams", "audit", "clicks", "messages", "orders"] && rates.0 > 0
        && rates.1 > 0
    }
    #expect(try await browser.text("source") == "http://127.0.0.1:\(try await program.port())")
    #expect(try await browser.text("target") == "sqlite:\(path)")
    #expect(try await browser.text("journal-bytes").hasSuffix(" of 1 GiB"))
    // So that the chart of a picture has something to show.
    if Browser.keepsPictures { try await Task.sleep(for: .seconds(70)) }
    try await keepPictures("busy", browser)
  }

  /// Puts something in the place of a table that nothing can be written into, and takes it away again.
  private func looksBackingOff(_ browser: Browser) async throws {
    try await change("ALTER TABLE orders RENAME TO hidden; CREATE VIEW orders AS SELECT * FROM hidden")
    try await eventually("it says that it backs off, and why") {
      let sentence = try await browser.text("state-sentence")
      return try await browser.text("state-word") == "Backing off: orders"
        && sentence.contains("'orders' there is a view")
    }
    try await eventually("retries are counted") { try await number("retries", browser) > 2 }
    #expect(try await browser.text("failure-reason").contains("'orders' there is a view"))
    try await keepPictures("backing-off", browser)
    try await change("DROP VIEW orders; ALTER TABLE hidden RENAME TO orders")
    try await eventually("it goes on") { try await !browser.text("state-word").hasPrefix("Backing off") }
  }

  private func looksRefused(_ browser: Browser, _ traffic: Traffic) async throws {
    for _ in 0..<Self.refused { try await traffic.send(#"{"refused":true}"#, to: "audit") }
    try await eventually("dead letters are counted") {
      try await (number("dead", browser), number("refused", browser)) == (Self.refused, Self.refused)
    }
    #expect(try await browser.text("failure-reason").contains("the owner does not want it"))
    try await keepPictures("refused", browser)
  }

  /// Nothing comes any more, and everything is accounted for.
  private func looksDone(_ browser: Browser, _ sent: [String: Int]) async throws {
    let all = sent.values.reduce(0, +)
    try await eventually("all that was sent is received, and stored but for what was refused") {
      try await (number("received", browser), number("stored", browser)) == (all, all - Self.refused)
    }
    try await eventually("it says that there is nothing to do") { try await browser.text("state-word") == "Idle" }
    #expect(try await browser.text("state-sentence") == "Nothing is held, and nothing has come for some seconds.")
    #expect(try await number("ledger-held", browser) == 0)
    #expect(try await number("refused", browser) == Self.refused)
    #expect(try await number("journal-messages", browser) == 0)
    let triggers = try await triggers(browser)
    #expect(try #require(triggers["size"]) > 0, "bodies of a batch's size were sent")
    #expect(try #require(triggers["linger"]) > 0, "single messages were sent")
    try await keepPictures("idle", browser)
  }
}

/// Clients that send to several streams, and count what was acknowledged.
private final class Traffic: Sendable {
  private let port: Int
  private let counts = Mutex<[String: Int]>([:])
  private let isStopped = Atomic(false)

  init(port: Int) {
    self.port = port
  }

  /// Messages that were acknowledged, by stream.
  var sent: [String: Int] { counts.withLock { $0 } }

  func stop() { isStopped.store(true, ordering: .relaxed) }

  /// Sends one request of one message.
  func send(_ message: String, to stream: String) async throws {
    try await TestClient.withClient(host: "127.0.0.1", port: port) {
      try await self.post(message, count: 1, to: stream, on: $0)
    }
  }

  /// Sends until ``stop()``: many single messages, bodies that fill batches, and now and then something else.
  func run() async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      for client in 0..<12 {
        group.addTask { try await self.send(from: client) }
      }
      try await group.waitForAll()
    }
  }

  private func send(from client: Int) async throws {
    let lines = (0..<600).map { #"{"click":\#($0),"client":\#(client)}"# }.joined(separator: "\n")
    try await TestClient.withClient(host: "127.0.0.1", port: port) { connection in
      var round = 0
      while !self.isStopped.load(ordering: .relaxed) {
        round += 1
        switch client {
        case 0: try await self.post(#"{"order":\#(round)}"#, count: 1, to: "orders", on: connection)
        case 1: try await self.post(#"{"login":\#(round)}"#, count: 1, to: "audit", on: connection)
        case 2: try await self.post(lines, count: 600, to: "clicks", on: connection)
        default: try await self.post(#"{"hello":\#(round)}"#, count: 1, to: "messages", on: connection)
        }
        // A pace: the browser wants some of the machine, too.
        let wave = 1 + sin(Double(round) / 40)
        try await Task.sleep(for: .milliseconds(client < 3 ? 120 + 200 * wave : 4 + 20 * wave))
      }
    }
  }

  private func post(_ body: String, count: Int, to stream: String, on connection: TestClient) async throws {
    let headers: HTTPFields = [
      .contentType: count == 1 ? "application/json" : "application/x-ndjson", .prefer: "respond-async",
    ]
    let response = try await connection.post(
      "/v1/streams/\(stream)/messages", headers: headers, body: ByteBuffer(string: body))
    guard [.ok, .accepted].contains(response.status) else {
      throw NotInTime(description: "answered \(response.status)")
    }
    counts.withLock { $0[stream, default: 0] += count }
  }
}
