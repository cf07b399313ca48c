import AggregatorTestSupport
import Batching
import Foundation
import Logging
import Synchronization
import Testing

@testable import AggregatorStorage

@Suite("Forwarder under stress")
struct ForwarderStressTests {
  /// Fails now and then, refuses a message now and then, and takes a while.
  private final class MoodySink: Sink {
    private struct State {
      var generator: SplitMix
      var stored: [StreamName: [Message]] = [:]
    }

    private let state: Mutex<State>

    init(seed: UInt64) { state = Mutex(State(generator: SplitMix(state: seed))) }

    var stored: [StreamName: [Message]] { state.withLock { $0.stored } }

    func write(_ messages: [Message], to stream: StreamName) async throws {
      let (fails, yields) = state.withLock { state in
        (Int.random(in: 0..<4, using: &state.generator) == 0, Int.random(in: 0..<20, using: &state.generator))
      }
      for _ in 0..<yields { await Task.yield() }
      if fails { throw SinkError(description: "away", isRetryable: true) }
      if messages.contains(where: { $0.body.hasSuffix("13\"") }) {
        throw SinkError(description: "refused", isRetryable: false)
      }
      state.withLock { $0.stored[stream, default: []] += messages }
    }

    func check() async throws {}
    func close() async throws {}
  }

  private struct SplitMix: RandomNumberGenerator, Sendable {
    var state: UInt64

    mutating func next() -> UInt64 {
      state &+= 0x9E37_79B9_7F4A_7C15
      var z = state
      z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
      z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
      return z ^ (z >> 31)
    }
  }

  /// Streams of very different weight, little memory, small readings, many restarts: each message is stored or buried once, in
  /// the order of its stream.
  @Test(arguments: 1...6 as ClosedRange<UInt64>)
  func `each message is stored once and in order, whatever falls behind and whenever it restarts`(
    seed: UInt64
  ) async throws {
    let folder = try TemporaryFolder()
    let path = folder.file("journal.db")
    let sink = MoodySink(seed: seed)
    var logger = Logger(label: "test")
    logger.handler = SwiftLogNoOpLogHandler()
    let streams = try (0..<6).map { try StreamName("s\($0)") }
    var options = ForwarderOptions()
    options.batchSize = 5
    options.capacity = 23
    options.concurrency = 3
    options.readSize = 17
    options.initialBackoff = .microseconds(100)
    options.maximumBackoff = .milliseconds(1)
    options.removalLinger = .milliseconds(1)
    var expected: [StreamName: [String]] = [:]
    var generator = SplitMix(state: seed)
    for round in 0..<3 {
      let journal = try Journal(path: path, maximumBytes: 1 << 30)
      let forwarder = try Forwarder(journal: journal, sink: sink, options: options, logger: logger)
      async let running: Void = forwarder.run()
      for request in 0..<120 {
        // The first stream has most of the messages, the last few.
        let stream = streams[min(Int.random(in: 0..<6, using: &generator), Int.random(in: 0..<6, using: &generator))]
        let bodies = (0..<Int.random(in: 1...12, using: &generator)).map { "\"\(round)/\(request)/\($0 + 5)\"" }
        expected[stream, default: []] += bodies.filter { !$0.hasSuffix("13\"") }
        _ = try await journal.append([
          JournalRequest(stream: stream, messages: bodies.map { Message(body: $0, receivedAt: 1) })
        ])
      }
      if round == 2 { try await eventually("all is settled, seed \(seed)") { journal.usage.messages == 0 } }
      forwarder.shutdown()
      try await running
      try await journal.close()
    }
    for stream in streams { #expect(sink.stored[stream]?.map(\.body) == expected[stream], "\(stream), seed \(seed)") }
  }
}
