import AggregatorTestSupport
import Batching
import Logging
import Synchronization
import Testing

@testable import AggregatorStorage

@Suite("Pipeline from a log")
struct LogPipelineTests {
  private let consumer = FakeConsumer()
  private let sink = MemorySink()

  private func pipeline(
    _ change: (inout LogPipelineOptions) -> Void = { _ in }, keep: LogBurial.Keep? = nil
  ) throws -> LogPipeline {
    var options = LogPipelineOptions()
    options.batchSize = 10
    options.capacity = 40
    options.linger = .zero
    options.initialBackoff = .milliseconds(1)
    options.maximumBackoff = .milliseconds(5)
    change(&options)
    return try LogPipeline(
      consumer: consumer, sink: sink, keep: keep, options: options,
      logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
  }

  /// Runs a pipeline for the time of `body`.
  private func run(_ pipeline: LogPipeline, _ body: () async throws -> Void) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await pipeline.run() }
      do {
        try await body()
      } catch {
        sink.open()
        pipeline.shutdown()
        throw error
      }
      pipeline.shutdown()
      try await group.waitForAll()
    }
  }

  private func bodies(_ prefix: String, _ count: Int) -> [String] { (0..<count).map { "\(prefix)\($0)" } }
  private var stored: [String] { sink.batches.flatMap { $0 } }

  @Test(arguments: [1, 10]) func `messages of a partition are stored in order, and acknowledged`(size: Int) async throws
  {
    consumer.add(bodies("a", 50), partition: "a")
    consumer.add(bodies("b", 50), partition: "b")
    try await run(try pipeline { $0.batchSize = size }) {
      try await eventually("all are acknowledged") { consumer.acknowledged.count == 100 }
    }
    #expect(stored.filter { $0.hasPrefix("a") } == bodies("a", 50))
    #expect(stored.filter { $0.hasPrefix("b") } == bodies("b", 50))
    #expect(Set(consumer.acknowledged).count == 100)
    #expect(consumer.givenBack.isEmpty && consumer.closings == 1)
  }

  @Test func `nothing is acknowledged before the sink has it, and no more is taken than may be held`() async throws {
    consumer.add(bodies("a", 200), partition: "a")
    consumer.add(bodies("b", 200), partition: "b")
    sink.shut()
    try await run(try pipeline { $0.concurrency = 1 }) {
      try await eventually("a write waits") { sink.waiting == 1 }
      try await eventually("the rest waits") { consumer.taken >= 30 }
      #expect(consumer.acknowledged.isEmpty)
      #expect(consumer.taken <= 50)
      sink.open()
      try await eventually("all are acknowledged") { consumer.acknowledged.count == 400 }
    }
  }

  @Test func `a batch of several streams is written by stream`() async throws {
    let orders = try StreamName("orders")
    for index in 0..<10 {
      consumer.add(["\(index)"], partition: "a", stream: index.isMultiple(of: 2) ? .messages : orders)
    }
    try await run(try pipeline()) {
      try await eventually("all are acknowledged") { consumer.acknowledged.count == 10 }
    }
    #expect(stored.filter { Int($0).map { $0.isMultiple(of: 2) } == true } == ["0", "2", "4", "6", "8"])
    #expect(stored.filter { Int($0).map { !$0.isMultiple(of: 2) } == true } == ["1", "3", "5", "7", "9"])
    #expect(sink.batches.allSatisfy { Set($0.map { Int($0).map { $0 % 2 } }).count == 1 })
  }

  @Test func `an outage is waited for`() async throws {
    sink.fail(SinkError(description: "out", isRetryable: true))
    consumer.add(bodies("a", 30), partition: "a")
    try await run(try pipeline()) {
      try await eventually("it has been tried") { consumer.taken >= 20 }
      #expect(consumer.acknowledged.isEmpty)
      sink.fail(nil)
      try await eventually("all are acknowledged") { consumer.acknowledged.count == 30 }
    }
    #expect(stored == bodies("a", 30))
  }

  @Test func `what is refused is buried and acknowledged, and those beside it are stored`() async throws {
    let buried = Mutex<[LogBurial]>([])
    let tries = Atomic(0)
    sink.refuse("a7")
    consumer.add(bodies("a", 20), partition: "a")
    let pipeline = try pipeline(keep: { burials in
      if tries.wrappingAdd(1, ordering: .relaxed).newValue < 3 {
        throw SinkError(description: "full", isRetryable: true)
      }
      buried.withLock { $0 += burials }
    })
    try await run(pipeline) {
      try await eventually("all are acknowledged") { consumer.acknowledged.count == 20 }
    }
    #expect(stored == bodies("a", 20).filter { $0 != "a7" })
    let letters = buried.withLock { $0 }
    #expect(letters.map(\.message.message.body) == ["a7"])
    #expect(letters[0].attempts >= 1 && "\(letters[0].error)".contains("refused"))
  }

  @Test func `without a place for dead letters what is refused is passed over`() async throws {
    sink.refuse("a7")
    consumer.add(bodies("a", 20), partition: "a")
    try await run(try pipeline()) {
      try await eventually("all are acknowledged") { consumer.acknowledged.count == 20 }
    }
    #expect(stored.count == 19)
  }

  @Test func `when dead letters cannot be kept it ends, and the message is given back`() async throws {
    sink.refuse("a0")
    consumer.add(["a0"], partition: "a")
    let pipeline = try pipeline(keep: { _ in throw SinkError(description: "damaged", isRetryable: false) })
    // What cannot go on has to be told: the pipeline ends when nobody asks it to.
    let error = await #expect(throws: SinkError.self) {
      try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { try await pipeline.run() }
        group.addTask {
          try await eventually("it is given back") { self.consumer.givenBack == [0] }
          pipeline.shutdown()
        }
        try await group.waitForAll()
      }
    }
    #expect(error?.description == "damaged")
    #expect(consumer.acknowledged.isEmpty)
  }

  @Test func `what another member has now is not stored`() async throws {
    sink.shut()
    consumer.add(bodies("a", 30), partition: "a")
    consumer.add(bodies("b", 10), partition: "b")
    let pipeline = try pipeline {
      $0.concurrency = 2
      $0.capacity = 100
    }
    var underWay: [String] = []
    try await run(pipeline) {
      try await eventually("writes wait") { sink.waiting == 2 }
      // Which of them is full depends on how soon it was taken.
      underWay = sink.waitingBatches.flatMap { $0 }.filter { $0.hasPrefix("a") }
      consumer.lose("a")
      let settled = Task { try await pipeline.settled([LogPartition("a")]) }
      sink.open()
      try await settled.value
      try await eventually("b is acknowledged") { consumer.acknowledged.filter { $0 >= 30 }.count == 10 }
    }
    // The write that was under way, and no other of it.
    #expect(!underWay.isEmpty && underWay.count <= 10)
    #expect(stored.filter { $0.hasPrefix("a") } == underWay)
    #expect(consumer.givenBack.isEmpty)
  }

  @Test func `settled waits for what is under way, and heeds a cancellation`() async throws {
    let pipeline = try pipeline()
    try await pipeline.settled([LogPartition("a")])
    sink.shut()
    consumer.add(bodies("a", 5), partition: "a")
    try await run(pipeline) {
      try await eventually("a write waits") { sink.waiting == 1 }
      try await pipeline.settled([LogPartition("b")])
      let cancelled = Task { try await pipeline.settled([LogPartition("a")]) }
      cancelled.cancel()
      await #expect(throws: CancellationError.self) { try await cancelled.value }
      let settled = Task { try await pipeline.settled([LogPartition("a"), LogPartition("b")]) }
      sink.open()
      try await settled.value
      #expect(consumer.acknowledged.count == 5)
    }
  }

  @Test func `at the end what is in memory is stored while the sink works`() async throws {
    sink.shut()
    consumer.add(bodies("a", 40), partition: "a")
    let pipeline = try pipeline()
    let running = Task { try await pipeline.run() }
    try await eventually("a write waits") { sink.waiting == 1 }
    pipeline.shutdown()
    sink.open()
    try await running.value
    let settled = consumer.acknowledged + consumer.givenBack
    #expect(settled.count == consumer.taken && Set(settled).count == consumer.taken)
    #expect(consumer.acknowledged.count >= 10)
    #expect(stored.count == consumer.acknowledged.count)
    await #expect(throws: AggregatorError.alreadyRun) { try await pipeline.run() }
  }

  @Test func `at the end of an outage all is given back`() async throws {
    sink.fail(SinkError(description: "out", isRetryable: true))
    consumer.add(bodies("a", 40), partition: "a")
    try await run(try pipeline()) {
      try await eventually("they are taken") { consumer.taken >= 20 }
    }
    #expect(consumer.givenBack.sorted() == (0..<Int64(consumer.taken)).map { $0 })
    #expect(stored.isEmpty && consumer.closings == 1)
  }

  @Test func `when its task is cancelled all is given back`() async throws {
    sink.fail(SinkError(description: "out", isRetryable: true))
    consumer.add(bodies("a", 40), partition: "a")
    let pipeline = try pipeline()
    let running = Task { try await pipeline.run() }
    try await eventually("they are taken") { consumer.taken >= 20 }
    running.cancel()
    await #expect(throws: CancellationError.self) { try await running.value }
    #expect(consumer.givenBack.sorted() == (0..<Int64(consumer.taken)).map { $0 })
    #expect(consumer.closings == 1)
  }

  @Test func `a consumer that cannot go on ends it, after what was taken is stored`() async throws {
    consumer.add(bodies("a", 20), partition: "a")
    let pipeline = try pipeline()
    let running = Task { try await pipeline.run() }
    try await eventually("they are stored") { consumer.acknowledged.count == 20 }
    consumer.fail(ProgramError("the topic is gone"))
    await #expect(throws: ProgramError.self) { try await running.value }
    #expect(consumer.closings == 1)
  }
}
