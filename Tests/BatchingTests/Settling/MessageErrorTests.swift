import Batching
import BatchingTesting
import Testing

@Suite("What databases and endpoints answer, as failures", .timeLimit(.minutes(5)))
struct MessageErrorTests {
  private struct Broken: Error {}

  @Test(
    arguments: [
      (200, nil), (204, nil), (299, nil), (408, true), (425, true), (429, true), (500, true), (502, true), (503, true),
      (504, true), (507, true), (100, false), (301, false), (400, false), (404, false), (409, false), (413, false),
      (422, false), (501, false), (505, false), (511, false), (600, false),
    ] as [(Int, Bool?)])
  func statuses(code: Int, isRetryable: Bool?) {
    let error = MessageError.httpStatus(code, retryAfter: .seconds(3), detail: "why")
    #expect(error?.isRetryable == isRetryable)
    #expect(error?.retryAfter == (isRetryable == true ? .seconds(3) : nil))
    if let error { #expect(error.description.hasPrefix("HTTP status \(code): why")) }
  }

  @Test(arguments: [
    ("08006", true), ("40001", true), ("40P01", true), ("53300", true), ("57P01", true), ("57P03", true),
    ("58030", true),
    ("55P03", true), ("55006", false), ("22001", false), ("23505", false), ("42P01", false), ("", false),
  ])
  func sqlStates(code: String, isRetryable: Bool) {
    #expect(MessageError.sqlState(code).isRetryable == isRetryable)
  }

  @Test
  func errorsThatGiveNoAdvice() {
    let again = MessageError.retry(because: Broken(), after: .seconds(1))
    #expect(again.isRetryable && again.retryAfter == .seconds(1) && again.underlyingError is Broken)
    #expect(!MessageError.refuse(because: Broken()).isRetryable)
    #expect(MessageError.retry(because: "later").description == "later (to be tried again)")
    #expect(MessageError.refuse(because: "never").description == "never (refused)")
  }

  @Test
  func whereNothingFailedNothingIsThrown() throws {
    #expect(PartialBatchFailure([nil, nil]) == nil)
    try PartialBatchFailure.throwIfAny([nil, nil])
    try PartialBatchFailure.throwIfAny(in: [Result<Int, Broken>.success(1)])
    let failure = #expect(throws: PartialBatchFailure.self) {
      try PartialBatchFailure.throwIfAny(in: [.success(1), .failure(Broken()), .success(2)] as [Result<Int, Broken>])
    }
    #expect(failure?.failures.keys.sorted() == [1])
  }

  /// An endpoint that answers each message with a status: what it took is handled, what it wants later comes again after
  /// the time it asked for, and what it refuses goes to the failure handler.
  @Test
  func aBulkEndpoint() async throws {
    let answers = Watched<[Int: [Int]]>([0: [201], 1: [429, 201], 2: [400], 3: [503, 201]])
    let rig = try Rig(
      .init(batchSize: 4, retry: .exponential(maximumAttempts: 3, initial: .zero, maximum: .seconds(60))),
      handler: .open { batch in
        try PartialBatchFailure.throwIfAny(
          batch.map { message in
            let status = answers.change { $0[message, default: []].removeFirst() }
            return MessageError.httpStatus(status, retryAfter: status == 429 ? .seconds(7) : nil)
          })
      })
    try await rig.run { _ in
      try await rig.aggregator.send(contentsOf: 0..<4)
      try await rig.clock.waitForSleeper(until: .seconds(7))
      #expect(rig.fates.each[0] == .handled)
      rig.clock.advance(by: .seconds(7))
      try await rig.aggregator.flush()
      #expect(rig.handler.inputs.map(\.messages) == [[0, 1, 2, 3], [1, 3]])
      #expect(rig.failures.inputs.map(\.messages) == [[2]])
      let error = rig.failures.inputs.first?.error as? MessageError
      #expect(error?.reason == "HTTP status 400")
    }
  }
}
