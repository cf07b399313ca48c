import Testing

@testable import AggregatorStorage

@Suite("Receipts")
struct ReceiptTests {
  private let receipts = Receipts()

  private func isStored(_ receipt: Receipt) -> Bool {
    if case .stored = receipt.current { true } else { false }
  }

  @Test func `a request is stored when all of its messages are, in whatever order`() {
    let claims = [1...3, 4...4, 7...9].map { (range: $0 as ClosedRange<Int64>, receipt: Receipt()) }
    for claim in claims { receipts.claim(claim.range, claim.receipt) }
    receipts.settle([7, 8, 2, 4, 5])
    #expect(claims.map { isStored($0.receipt) } == [false, true, false])
    receipts.settle([3, 9])
    #expect(claims.map { isStored($0.receipt) } == [false, true, true])
    receipts.settle([1])
    #expect(isStored(claims[0].receipt))
  }

  @Test func `many that are settled in the middle do not pile up behind one that is not`() {
    let first = Receipt()
    receipts.claim(0...0, first)
    for number in 1...1_000 as ClosedRange<Int64> {
      let receipt = Receipt()
      receipts.claim(number...number, receipt)
      receipts.settle([number])
      #expect(isStored(receipt))
    }
    receipts.settle([0])
    #expect(isStored(first))
  }

  @Test func `one message that is refused makes the request refused, when all is settled`() {
    struct No: Error {}
    let receipt = Receipt()
    receipts.claim(1...2, receipt)
    receipts.settle([1], refused: [1: No()])
    #expect(receipt.current == nil)
    receipts.settle([2])
    guard case .refused(let error) = receipt.current else {
      Issue.record("it was refused")
      return
    }
    #expect(error is No)
  }

  @Test func `at the end all that wait are told, and all that come later`() {
    let one = Receipt()
    receipts.claim(1...1, one)
    receipts.close()
    let two = Receipt()
    receipts.claim(2...2, two)
    for receipt in [one, two] {
      guard case .left = receipt.current else {
        Issue.record("it was left")
        continue
      }
    }
  }

  @Test func `what was not committed is not waited for`() {
    let one = Receipt()
    let two = Receipt()
    receipts.claim(1...1, one)
    receipts.claim(2...3, two)
    receipts.withdraw(from: 2)
    receipts.claim(2...2, one)
    receipts.settle([1, 2, 3])
    #expect(isStored(one))
    #expect(two.current == nil)
  }

  @Test func `who waits is told, also who is cancelled`() async throws {
    let receipt = Receipt()
    receipts.claim(1...1, receipt)
    let waiting = Task { try await receipt.outcome() }
    let cancelled = Task { try await receipt.outcome() }
    cancelled.cancel()
    await #expect(throws: CancellationError.self) { _ = try await cancelled.value }
    receipts.settle([1])
    guard case .stored = try await waiting.value else {
      Issue.record("it was stored")
      return
    }
  }
}
