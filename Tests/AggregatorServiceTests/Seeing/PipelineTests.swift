import AggregatorStorage
import Batching
import Testing

@testable import AggregatorService

@Suite("Meters of a pipeline")
struct PipelineTests {
  private struct Talkative: Error {
    let message = "the customer's name is Smith"
  }

  private let clock = HandClock()

  @Test func `what is told of a batch is counted in its stream`() throws {
    let meters = Meters(clock: clock.clock)
    let stream = try StreamName("clicks")
    clock.advance(by: .seconds(2))
    meters.meter(for: stream).recovered(messages: 5)
    meters.batchBegan(
      stream: stream, messages: 5, trigger: .linger, attempt: 1, oldestReceivedAt: 1_000_001_500_000)
    meters.batchEnded(
      stream: stream, messages: 5, took: .milliseconds(3),
      error: SinkError(description: "no such table", isRetryable: false))
    for _ in 0..<2 {
      meters.batchBegan(stream: stream, messages: 3, trigger: .split, attempt: 1, oldestReceivedAt: .max)
    }
    meters.batchEnded(stream: stream, messages: 3, took: .milliseconds(1), error: nil)
    meters.buried(stream: stream, messages: 2)
    let reading = meters.meter(for: stream).reading()
    #expect(reading.counts.stored == 3 && reading.counts.refused == 2 && reading.counts.held == 0)
    #expect(reading.counts.batches == [.linger: 1, .split: 2])
    #expect(reading.waitSum == .milliseconds(500))
    #expect(reading.failure?.reason == "no such table")
  }

  @Test func `an error is shown by what it says only where it is known to quote nothing`() {
    func reason(_ error: any Error) -> String? {
      switch StreamMeter.Outcome(of: error, messages: 3) {
      case .stored: nil
      case .failed(let reason): "failed: \(reason)"
      case .refused(let reason): "refused: \(reason)"
      case .partly(let stored, let reason): "\(stored) stored: \(reason)"
      }
    }
    #expect(reason(Talkative()) == "failed: Talkative")
    #expect(reason(SinkError(description: "full", isRetryable: true)) == "failed: full")
    #expect(reason(SinkError(description: "no", isRetryable: false)) == "refused: no")
    #expect(reason(PartialBatchFailure([2: Talkative()])) == "2 stored: Talkative")
    #expect(StreamMeter.Outcome(of: nil, messages: 3).isStored)
  }
}

extension StreamMeter.Outcome {
  fileprivate var isStored: Bool {
    if case .stored = self { true } else { false }
  }
}
