import AggregatorTestSupport
import Batching
import Foundation
import GRDB
import Logging
import Synchronization
import Testing

@testable import AggregatorStorage

@Suite("Forwarder")
struct ForwarderTests {
  private let folder: TemporaryFolder
  private let journal: Journal
  private let sink = MemorySink()
  private let orders: StreamName
  private let logger: Logger

  init() throws {
    folder = try TemporaryFolder()
    journal = try Journal(path: folder.file("journal.db"), maximumBytes: 1 << 30)
    orders = try StreamName("orders")
    var logger = Logger(label: "test")
    logger.handler = SwiftLogNoOpLogHandler()
    self.logger = logger
  }

  private func options(_ change: (inout ForwarderOptions) -> Void = { _ in }) -> ForwarderOptions {
    var options = ForwarderOptions()
    options.initialBackoff = .milliseconds(1)
    options.maximumBackoff = .milliseconds(2)
    options.removalLinger = .milliseconds(1)
    change(&options)
    return options
  }

  private func request(
    _ numbers: Range<Int>, to stream: StreamName = .messages, _ receipt: Receipt? = nil
  )
    -> JournalRequest
  {
    JournalRequest(
      stream: stream, messages: numbers.map { Message(body: "\($0)", receivedAt: Int64($0)) }, receipt: receipt)
  }

  /// Runs a forwarder while `body` runs, then shuts it down and waits until it has ended.
  private func forwarding(
    to other: (any Sink)? = nil, deadLetters: DeadLetters? = nil, options: ForwarderOptions? = nil,
    observer: any PipelineObserver = NoObserver(), _ body: (Forwarder) async throws -> Void
  ) async throws {
    let forwarder = try Forwarder(
      journal: journal, sink: other ?? sink, deadLetters: deadLetters, options: options ?? self.options(),
      observer: observer, logger: logger)
    async let running: Void = forwarder.run()
    do {
      try await body(forwarder)
    } catch {
      forwarder.shutdown()
      try? await running
      throw error
    }
    forwarder.shutdown()
    try await running
  }

  private func isDrained() -> Bool { journal.usage.messages == 0 }

  private func bodies(_ stream: StreamName = .messages) -> [String] { sink.stored(stream).map(\.body) }

  @Test func `what is appended is stored, in order, in batches, and removed`() async throws {
    try await forwarding { _ in
      for start in stride(from: 0, to: 2_000, by: 10) {
        _ = try await journal.append([request(start..<start + 5), request(start + 5..<start + 10, to: orders)])
      }
      try await eventually("all is stored and removed") { isDrained() }
    }
    let ofMessages = (0..<2_000).filter { $0 % 10 < 5 }.map(String.init)
    #expect(bodies() == ofMessages)
    #expect(bodies(orders) == (0..<2_000).filter { $0 % 10 >= 5 }.map(String.init))
    #expect(sink.writtenBatches.allSatisfy { $0.messages.count <= 500 })
    try await journal.close()
  }

  @Test func `what was there before is stored first after a start`() async throws {
    _ = try await journal.append([request(0..<3_000)])
    try await forwarding(options: options { $0.concurrency = 4 }) { _ in
      _ = try await journal.append([request(3_000..<3_010)])
      try await eventually("all is stored and removed") { isDrained() }
    }
    #expect(bodies() == (0..<3_010).map(String.init))
    try await journal.close()
  }

  @Test func `while the sink is down all waits in the journal, and then goes in order, far beyond what memory holds`()
    async throws
  {
    sink.fail(times: 200)
    let few = options {
      $0.batchSize = 7
      $0.capacity = 20
      $0.concurrency = 3
    }
    try await forwarding(options: few) { forwarder in
      for start in stride(from: 0, to: 3_000, by: 100) {
        _ = try await journal.append([request(start..<start + 60), request(start + 60..<start + 100, to: orders)])
      }
      #expect(forwarder.statistics.held <= 20)
      try await eventually("all is stored and removed") { isDrained() }
      #expect(forwarder.statistics.failed == 0)
    }
    #expect(bodies() == (0..<3_000).filter { $0 % 100 < 60 }.map(String.init))
    #expect(bodies(orders) == (0..<3_000).filter { $0 % 100 >= 60 }.map(String.init))
    try await journal.close()
  }

  @Test func `a stream whose place does not work holds up no other, and goes on in order when it does`() async throws {
    sink.fail(SinkError(description: "no", isRetryable: true), for: .messages)
    let few = options {
      $0.batchSize = 10
      $0.capacity = 100
      $0.concurrency = 2
    }
    try await forwarding(options: few) { _ in
      for start in stride(from: 0, to: 2_000, by: 200) {
        _ = try await journal.append([request(start..<start + 190), request(start + 190..<start + 200, to: orders)])
      }
      try await eventually("the other stream is stored") { bodies(orders).count == 100 }
      #expect(bodies() == [])
      _ = try await journal.append([request(9_000..<9_005, to: orders), request(9_005..<9_010)])
      try await eventually("and what comes later") { bodies(orders).count == 105 }
      sink.fail(nil, for: .messages)
      try await eventually("all is stored and removed") { isDrained() }
    }
    #expect(bodies() == (0..<2_000).filter { $0 % 200 < 190 }.map(String.init) + (9_005..<9_010).map(String.init))
    try await journal.close()
  }

  @Test func `refused messages become dead letters with their reason, and those beside them are stored, in order`()
    async throws
  {
    sink.refuse("3", "77", "78")
    let receipts = [Receipt(), Receipt()]
    let observer = Counter()
    _ = try await journal.append([request(0..<50, receipts[0]), request(50..<100, receipts[1])])
    let fine = Receipt()
    try await forwarding(observer: observer) { _ in
      _ = try await journal.append([request(100..<110, fine)])
      try await eventually("all is stored, buried and removed") { isDrained() }
      for receipt in receipts {
        guard case .refused(let error) = try await receipt.outcome() else {
          Issue.record("a refusal was not told")
          continue
        }
        #expect("\(error)" == "a message is refused")
      }
      guard case .stored = try await fine.outcome() else {
        Issue.record("it was stored")
        return
      }
    }
    #expect(bodies() == (0..<110).filter { ![3, 77, 78].contains($0) }.map(String.init))
    try await journal.close()
    let letters = try DeadLetters(path: journal.path)
    let found = try await letters.list()
    #expect(found.map(\.receivedAt) == [3, 77, 78])
    #expect(found.allSatisfy { $0.error == "a message is refused" && $0.attempts > 1 && $0.stream == .messages })
    #expect(try await letters.letter(found[0].id)?.body == "3")
    #expect(found[0].identity.hasSuffix("/4"), "known by the place it had")
    try await letters.close()
    #expect(observer.buried == 3)
    #expect(observer.began == observer.ended)
    #expect(observer.began == sink.writes)
  }

  @Test func `an outage while refused messages are isolated is no refusal`() async throws {
    _ = try await journal.append([request(0..<8)])
    let sink = OutageWhileIsolating(refused: "5")
    try await forwarding(to: sink) { _ in
      try await eventually("all is stored, buried and removed") { isDrained() }
    }
    #expect(sink.stored == (0..<8).filter { $0 != 5 }.map(String.init))
    try await journal.close()
    let letters = try DeadLetters(path: journal.path)
    #expect(try await letters.list().map(\.receivedAt) == [5])
    try await letters.close()
  }

  @Test func `a write that takes too long is cancelled and tried again`() async throws {
    let sink = FirstWriteHangs()
    try await forwarding(to: sink, options: options { $0.writeTimeout = .milliseconds(20) }) { _ in
      _ = try await journal.append([request(0..<5)])
      try await eventually("all is stored and removed") { isDrained() }
    }
    #expect(sink.stored == (0..<5).map(String.init))
    try await journal.close()
  }

  @Test func `dead letters go into a file of their own where there is one`() async throws {
    sink.refuse("1")
    let letters = try DeadLetters(path: folder.file("letters.db"))
    try await forwarding(deadLetters: letters) { _ in
      _ = try await journal.append([request(0..<3)])
      try await eventually("all is stored, kept and removed") { isDrained() }
    }
    #expect(try await letters.list().map(\.receivedAt) == [1])
    try await letters.close()
    try await journal.close()
  }

  @Test func `at the end a sink that is down is not waited for, and all stays in the journal`() async throws {
    sink.fail(SinkError(description: "no", isRetryable: true))
    let receipt = Receipt()
    try await forwarding { _ in
      _ = try await journal.append([request(0..<1_000, receipt)])
      try await eventually("it has tried") { sink.writes > 1 }
    }
    guard case .left = try await receipt.outcome() else {
      Issue.record("it is left in the journal")
      return
    }
    #expect(journal.usage.messages == 1_000)
    #expect(try await journal.entries(after: 0, limit: 2_000).count == 1_000)
    try await journal.close()
    let letters = try DeadLetters(path: journal.path)
    #expect(try await letters.list() == [])
    try await letters.close()
    sink.fail(nil)
    let again = try Journal(path: journal.path, maximumBytes: 1 << 30)
    let forwarder = try Forwarder(journal: again, sink: sink, options: options(), logger: logger)
    async let running: Void = forwarder.run()
    try await eventually("all is stored and removed") { again.usage.messages == 0 }
    forwarder.shutdown()
    try await running
    #expect(bodies() == (0..<1_000).map(String.init))
    try await again.close()
  }

  @Test func `at the end what is in memory is stored and removed`() async throws {
    try await forwarding(options: options { $0.linger = .seconds(3_600) }) { forwarder in
      _ = try await journal.append([request(0..<100)])
      try await eventually("it is in memory") { forwarder.statistics.held == 100 }
    }
    #expect(bodies() == (0..<100).map(String.init))
    #expect(isDrained())
    try await journal.close()
  }

  @Test func `a drain that takes too long leaves the rest in the journal`() async throws {
    sink.shut()
    let blocked = BlockedSink()
    try await forwarding(to: blocked, options: options { $0.drainTimeout = .milliseconds(20) }) { _ in
      _ = try await journal.append([request(0..<100)])
      try await eventually("it writes") { blocked.writes > 0 }
    }
    #expect(journal.usage.messages == 100)
    try await journal.close()
  }

  @Test func `a run that is cancelled loses and buries nothing, and removes what is stored`() async throws {
    let halves = StoresOneBatch()
    let forwarder = try Forwarder(
      journal: journal, sink: halves,
      options: options {
        $0.batchSize = 10
        // Each batch is a full one, however slowly they are read.
        $0.linger = .seconds(3_600)
        $0.removalLinger = .seconds(3_600)
      }, logger: logger)
    _ = try await journal.append([request(0..<100)])
    let running = Task { try await forwarder.run() }
    try await eventually("one batch is stored, one is being written") { halves.writes == 2 }
    running.cancel()
    await #expect(throws: CancellationError.self) { try await running.value }
    #expect(journal.usage.messages == 90)
    try await journal.close()
    let letters = try DeadLetters(path: journal.path)
    #expect(try await letters.list() == [])
    try await letters.close()
  }

  @Test func `what was stored and not removed before the process ended is stored once`() async throws {
    let path = folder.file("messages.db")
    let messages = try SQLiteSink(path: path)
    _ = try await journal.append([request(0..<1_000), request(1_000..<1_005, to: orders)])
    // As after a crash between the sink's commit and the removal.
    for stream in [.messages, orders] {
      let stored = try await journal.entries(after: 0, limit: 2_000).filter { $0.stream == stream }
      try await messages.write(stored.prefix(700).map(\.message), to: stream)
    }
    try await forwarding(to: messages) { _ in try await eventually("all is removed") { isDrained() } }
    try await messages.close()
    try await journal.close()
    #expect(try storedMessages(path) == (0..<1_000).map(String.init))
    let other = try await DatabaseQueue(path: path).read {
      try String.fetchAll($0, sql: "SELECT body FROM orders ORDER BY id")
    }
    #expect(other == (1_000..<1_005).map(String.init))
  }

  @Test func `damage in the journal ends it with the reason`() async throws {
    for _ in 0..<200 {
      let large = Message(body: "\"\(String(repeating: "x", count: 3_000))\"", receivedAt: 7)
      _ = try await journal.append([JournalRequest(stream: .messages, messages: [large])])
    }
    try await journal.file.pool.writeWithoutTransaction { _ = try $0.checkpoint(.truncate) }
    let handle = try FileHandle(forUpdating: URL(fileURLWithPath: journal.path))
    try handle.seek(toOffset: 15 * 4_096)
    try handle.write(contentsOf: Data(repeating: 0xA5, count: 150 * 4_096))
    try handle.close()
    try await journal.file.pool.writeWithoutTransaction { try $0.execute(sql: "PRAGMA shrink_memory") }
    journal.file.pool.releaseMemory()
    let forwarder = try Forwarder(journal: journal, sink: sink, options: options(), logger: logger)
    let error = await #expect(throws: JournalError.self) { try await forwarder.run() }
    #expect(error?.description.contains("damaged") == true)
  }

  @Test func `it runs once`() async throws {
    try await forwarding { forwarder in
      _ = try await journal.append([request(0..<1)])
      try await eventually("it works") { isDrained() }
      await #expect(throws: AggregatorError.self) { try await forwarder.run() }
      _ = try await journal.append([request(1..<2)])
      try await eventually("it goes on") { isDrained() }
    }
    try await journal.close()
  }
}

// MARK: - Sinks that misbehave

private final class Counter: PipelineObserver {
  private let numbers = Mutex((began: 0, ended: 0, buried: 0))

  var began: Int { numbers.withLock { $0.began } }
  var ended: Int { numbers.withLock { $0.ended } }
  var buried: Int { numbers.withLock { $0.buried } }

  func batchBegan(stream: StreamName, messages: Int, trigger: Trigger, attempt: Int, oldestReceivedAt: Int64) {
    numbers.withLock { $0.began += 1 }
  }

  func batchEnded(stream: StreamName, messages: Int, took: Duration, error: (any Error)?) {
    numbers.withLock { $0.ended += 1 }
  }

  func buried(stream: StreamName, messages: Int) {
    numbers.withLock { $0.buried += messages }
  }
}

/// Refuses one message, and is away for the first write after each refusal.
private final class OutageWhileIsolating: Sink {
  private let refused: String
  private let state = Mutex((stored: [String](), outages: 3, isAway: false))

  init(refused: String) { self.refused = refused }

  var stored: [String] { state.withLock { $0.stored } }

  func write(_ messages: [Message], to stream: StreamName) async throws {
    try state.withLock { state in
      if state.isAway {
        state.isAway = false
        throw SinkError(description: "away", isRetryable: true)
      }
      if messages.contains(where: { $0.body == refused }) {
        state.isAway = state.outages > 0
        state.outages -= 1
        throw SinkError(description: "refused", isRetryable: false)
      }
      state.stored += messages.map(\.body)
    }
  }

  func check() async throws {}
  func close() async throws {}
}

/// Writes until it is cancelled, the first time.
private final class FirstWriteHangs: Sink {
  private let state = Mutex((stored: [String](), writes: 0))

  var stored: [String] { state.withLock { $0.stored } }

  func write(_ messages: [Message], to stream: StreamName) async throws {
    let isFirst = state.withLock { state in
      state.writes += 1
      return state.writes == 1
    }
    if isFirst { try await Task.sleep(for: .seconds(3_600)) }
    state.withLock { $0.stored += messages.map(\.body) }
  }

  func check() async throws {}
  func close() async throws {}
}

/// Writes until it is cancelled.
private final class BlockedSink: Sink {
  private let count = Atomic(0)

  var writes: Int { count.load(ordering: .relaxed) }

  func write(_ messages: [Message], to stream: StreamName) async throws {
    count.add(1, ordering: .relaxed)
    try await Task.sleep(for: .seconds(3_600))
  }

  func check() async throws {}
  func close() async throws {}
}

/// Writes one batch, and at the next until it is cancelled.
private final class StoresOneBatch: Sink {
  private let count = Atomic(0)

  var writes: Int { count.load(ordering: .relaxed) }

  func write(_ messages: [Message], to stream: StreamName) async throws {
    if count.add(1, ordering: .relaxed).newValue > 1 { try await Task.sleep(for: .seconds(3_600)) }
  }

  func check() async throws {}
  func close() async throws {}
}
