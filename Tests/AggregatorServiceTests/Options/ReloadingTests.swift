import AggregatorStorage
import AggregatorTestSupport
import Foundation
import Logging
import Synchronization
import Testing

@testable import AggregatorService

@Suite("Reloading")
struct ReloadingTests {
  private let folder: TemporaryFolder
  private var file: String { folder.file("aggregator.yaml") }
  private var tokens: String { folder.file("tokens") }

  /// What has been put in force.
  private final class Applied: Sendable {
    private let options = Mutex<[ProgramOptions]>([])
    var all: [ProgramOptions] { options.withLock { $0 } }
    func add(_ one: ProgramOptions) { options.withLock { $0.append(one) } }
  }

  private let applied = Applied()
  private let log = LogLines()

  init() throws {
    folder = try TemporaryFolder()
  }

  private func write(_ text: String, to path: String) throws {
    try Data(text.utf8).write(to: URL(fileURLWithPath: path))
  }

  private func start(
    _ arguments: [String] = [], file text: String, failing failure: (any Error)? = nil
  ) async throws -> (reloading: Reloading, store: TokenStore) {
    try write(text, to: file)
    let loader = OptionsLoader(arguments: ["--config", file] + arguments, environment: [:])
    let loaded = await loader.load()
    try #require(loaded.problems == [])
    let store = try TokenStore(path: loaded.options.tokens)
    let reloading = Reloading(loader: loader, options: loaded.options, tokens: store, logger: log.logger) { [applied] in
      if let failure { throw failure }
      applied.add($0)
    }
    return (reloading, store)
  }

  @Test func `what can change changes, what needs a restart is named and stays`() async throws {
    let (reloading, _) = try await start(["--concurrency", "3"], file: "batch-size: 7\nlinger: 1ms\n")
    try write("batch-size: 8\nlog-level: debug\nconcurrency: 9\nmax-body: 1KiB\nto: sqlite:other.db\n", to: file)
    let outcome = await reloading.reload()
    #expect(outcome == .applied(["batch-size", "linger", "log-level"], needingRestart: ["to", "max-body"]))
    let options = try #require(applied.all.first)
    #expect(options.batchSize == 8)
    #expect(options.linger == .zero, "it is gone from the file, so its default is in force")
    #expect(options.concurrency == 3, "the command line wins")
    #expect(options.logLevel == .debug)
    #expect(options.maximumBody == ProgramOptions().maximumBody)
    #expect(options.target == ProgramOptions().target)
    #expect(log.text.contains("option changed from=7 option=batch-size to=8"))
    #expect(log.text.contains("option needs a restart to change; it stays as it was from=4MiB option=max-body to=1KiB"))
    // What waits for a restart is told each time, what has changed is not.
    #expect(await reloading.reload() == .applied([], needingRestart: ["to", "max-body"]))
  }

  @Test(
    arguments: [
      ("batch-size: many", "'many' is no count"), ("bach-size: 8", "did you mean 'batch-size'?"),
      ("batch-size: 8\ncapacity: 7", "--capacity is 7"), ("batch-size: [", "cannot be understood"),
      ("batch-size: 8\ntokens: /none", "there is no file of tokens '/none'"),
    ])
  func `when something is wrong, all stays as it was`(text: String, words: String) async throws {
    let (reloading, store) = try await start(file: "batch-size: 7")
    try write(text, to: file)
    guard case .refused(let problems) = await reloading.reload() else {
      Issue.record("it was applied")
      return
    }
    #expect(problems.count == 1 && problems[0].contains(words), "\(problems)")
    #expect(applied.all == [])
    #expect(store.names == nil)
    #expect(log.text.contains("all stays as it was") && log.text.contains(words))
    // Once it is mended, it goes on from what was in force.
    try write("batch-size: 8", to: file)
    #expect(await reloading.reload() == .applied(["batch-size"], needingRestart: []))
  }

  @Test func `a file that is gone leaves all as it was`() async throws {
    let (reloading, _) = try await start(file: "batch-size: 7")
    try FileManager.default.removeItem(atPath: file)
    #expect(await reloading.reload() == .refused(["there is no file '\(file)'"]))
  }

  @Test func `tokens come with an address that waits for a restart`() async throws {
    let (reloading, store) = try await start(file: "from: http://127.0.0.1:0\nbatch-size: 7")
    try write("web \(String(repeating: "0", count: 64))", to: tokens)
    try write("from: http://0.0.0.0:0\ntokens: \(tokens)\n", to: file)
    #expect(await reloading.reload() == .applied(["batch-size", "tokens"], needingRestart: ["from"]))
    #expect(store.names == ["web"])
  }

  @Test func `tokens cannot be taken from an address that others can reach`() async throws {
    try write("web \(String(repeating: "0", count: 64))", to: tokens)
    let (reloading, store) = try await start(file: "from: http://0.0.0.0:0\ntokens: \(tokens)\n")
    // The file makes sense as a whole, but its address waits for a restart.
    try write("from: http://127.0.0.1:0\n", to: file)
    guard case .refused(let problems) = await reloading.reload() else {
      Issue.record("everybody may send now")
      return
    }
    #expect(problems.count == 1 && problems[0].contains("give --tokens"), "\(problems)")
    #expect(store.names == ["web"])
  }

  @Test func `tokens are read again although the option is the same`() async throws {
    try write("one \(String(repeating: "1", count: 64))", to: tokens)
    let (reloading, store) = try await start(file: "tokens: \(tokens)\n")
    try write("two \(String(repeating: "2", count: 64))", to: tokens)
    #expect(await reloading.reload() == .applied([], needingRestart: []))
    #expect(store.names == ["two"])
    try write("two", to: tokens)
    guard case .refused = await reloading.reload() else {
      Issue.record("it was applied")
      return
    }
    #expect(store.names == ["two"])
  }

  @Test func `SIGHUP reloads, as often as it comes`() async throws {
    let (reloading, _) = try await start(file: "batch-size: 7")
    // Until it is caught, it would end the process of the tests.
    signal(SIGHUP, SIG_IGN)
    let running = Task { await reloading.run() }
    for size in 8...9 {
      try write("batch-size: \(size)", to: file)
      try await eventually("it is in force") {
        kill(getpid(), SIGHUP)
        return applied.all.last?.batchSize == size
      }
    }
    running.cancel()
    await running.value
  }

  @Test func `when applying fails, the tokens stay too`() async throws {
    try write("one \(String(repeating: "1", count: 64))", to: tokens)
    let (reloading, store) = try await start(
      file: "tokens: \(tokens)\n", failing: ProgramError("the aggregator refuses it"))
    try write("two \(String(repeating: "2", count: 64))", to: tokens)
    #expect(await reloading.reload() == .refused(["the aggregator refuses it"]))
    #expect(store.names == ["one"])
  }
}

/// Log lines as text, with their metadata sorted.
private final class LogLines: Sendable {
  private let lines = Mutex<[String]>([])

  var text: String { lines.withLock { $0.joined(separator: "\n") } }

  var logger: Logger { Logger(label: "test") { _ in Handler(lines: self) } }

  private struct Handler: LogHandler {
    let lines: LogLines
    var logLevel = Logger.Level.trace
    var metadata: Logger.Metadata = [:]

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
      get { metadata[key] }
      set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
      let pairs = (event.metadata ?? [:]).sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
      lines.lines.withLock { $0.append(([event.message.description] + pairs).joined(separator: " ")) }
    }
  }
}
