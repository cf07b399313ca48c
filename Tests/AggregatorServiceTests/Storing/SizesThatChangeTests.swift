import AggregatorStorage
import AggregatorTestSupport
import Logging
import Testing

@testable import AggregatorService

@Suite("Sizes that change")
struct SizesThatChangeTests {
  @Test(arguments: [1, 2, 3, 7, 8, 10, 64, 100, 128, 250, 500, 750, 1_000, 2_000, 5_000, 10_000, 100_000, 1_000_000])
  func `so many messages fill a batch exactly`(batchSize: Int) {
    let weigher = Weigher(batchSize: batchSize)
    #expect(weigher.weight(of: 1) * batchSize == Weigher.fullBatch)
    #expect(weigher.weight(of: batchSize) == Weigher.fullBatch)
    #expect(weigher.weight(of: batchSize + 1) == Weigher.fullBatch, "it is a batch of its own")
  }

  @Test(arguments: [17, 501, 999, 65_537])
  func `so many messages fit, and one more does not`(batchSize: Int) {
    let one = Weigher(batchSize: batchSize).weight(of: 1)
    #expect(one * batchSize <= Weigher.fullBatch)
    #expect(one * (batchSize + 1) > Weigher.fullBatch)
  }

  @Test func `weights of all that can be held do not overflow`() throws {
    let capacity = try #require(
      OptionCatalogue.byName["capacity"]?.allowed.split(separator: " ").last.flatMap { Int($0) })
    #expect(!Weigher.fullBatch.multipliedReportingOverflow(by: 2 * capacity).overflow)
  }

  /// Sends requests of two messages each, so many that they make one batch of the size, and returns the sizes of the batches.
  private func batches(_ sizes: [Int]) async throws -> [Int] {
    let sink = MemorySink()
    var options = options { $0.linger = .seconds(60) }
    var logger = Logger(label: "test")
    logger.logLevel = .critical
    options.batchSize = 4
    let storing = try GroupCommit(options: options, sink: sink, observer: NoObserver(), logger: logger)
    let running = Task { try await storing.run() }
    let messages = ["1", "2"].map { Message(body: $0, receivedAt: 0) }
    for size in sizes {
      options.batchSize = size
      options.capacity = size
      try storing.reconfigure(options)
      await withTaskGroup(of: Void.self) { group in
        for _ in 0..<(size / 2) {
          group.addTask { _ = await storing.store(messages, in: .messages, acknowledge: .durable) }
        }
      }
      // Requests are answered before their batch is settled; until then they take room.
      try await storing.flush()
    }
    running.cancel()
    _ = await running.result
    return sink.batches.map(\.count)
  }

  @Test func `batches grow and shrink with the batch size`() async throws {
    let sizes = try await batches([4, 20, 2, 6])
    #expect(sizes == [4, 20, 2, 6])
  }

  @Test func `room grows and shrinks, and what is held stays`() {
    let room = Room(capacity: 4, share: 2)
    #expect(room.take(3, for: .messages))
    room.resize(capacity: 2, share: 1)
    #expect(!room.take(1, for: .messages))
    #expect(room.held == 3)
    room.resize(capacity: 10, share: 5)
    #expect(room.take(2, for: .messages))
    room.giveBack(5, of: .messages)
    #expect(room.held == 0)
  }

  // MARK: The log's level

  @Test func `a level that changes is that of all loggers but those with their own`() {
    let level = LogLevel(.warning)
    let handler = AdjustableLogHandler(SwiftLogNoOpLogHandler(), level: level)
    let one = Logger(label: "one") { _ in handler }
    var own = Logger(label: "own") { _ in handler }
    own.logLevel = .error
    #expect(one.logLevel == .warning)
    level.current = .debug
    #expect(one.logLevel == .debug)
    #expect(own.logLevel == .error)
  }
}
