import Testing

@testable import Batching

@Suite("Locking: looking out for room, while it pays")
struct PatienceTests {
  @Test func `each time in vain doubles how often one does not look out, up to 64 times`() {
    let patience = Patience()
    var skips: [Int] = []
    for _ in 0..<10 {
      var skipped = 0
      while !patience.isThere() { skipped += 1 }
      skips.append(skipped)
      patience.wasInVain()
    }
    #expect(skips == [0, 1, 2, 4, 8, 16, 32, 64, 64, 64])
  }

  @Test func `once it pays one looks out each time`() {
    let patience = Patience()
    for _ in 0..<10 { patience.wasInVain() }
    patience.paid()
    let looks = (0..<10).map { _ in patience.isThere() }
    #expect(looks.allSatisfy { $0 })
    patience.wasInVain()
    let afterwards = (0..<3).map { _ in patience.isThere() }
    #expect(afterwards == [false, true, true])
  }
}
