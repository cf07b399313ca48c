import Batching
import BatchingTesting
import Foundation

/// Random load on real threads and the real clock, for as long as one likes: memory has to stay flat, and the books to balance.
///
/// `Soak [seconds] [seed]`, a minute by default; with 0 seconds only what comes first: that a million keys leave no memory
/// behind, and that references are held by whoever uses them. One aggregator lives all the while; beside it others, each of another
/// configuration, live for some seconds and come to one of the ends that there are. It fails at the first message that is
/// lost, settled twice or leaked, and at the end when memory has grown.
@main
struct Soak {
  static func main() async throws {
    let arguments = CommandLine.arguments.dropFirst().compactMap { UInt64($0) }
    let seconds = arguments.first ?? 60
    let seed = arguments.dropFirst().first ?? UInt64.random(in: 0...UInt64.max)
    try await ManyKeys().run()
    try await References(seconds: 20).run()
    guard seconds > 0 else { return }
    print("soak of \(seconds) s, seed \(seed)")

    let end = ContinuousClock.now + .seconds(seconds)
    let memory = Memory()
    let longLived = Round(seed: seed, number: 0, isLongLived: true)
    async let steady: Void = longLived.run(until: end)
    var messages = 0
    var rounds = 0
    var nextReport = ContinuousClock.now + .seconds(60)
    while ContinuousClock.now < end {
      rounds += 1
      let round = Round(seed: seed, number: rounds, isLongLived: false)
      try await round.run(until: min(end, ContinuousClock.now + .seconds(round.seconds)))
      messages += round.ledger.accepted
      memory.sample()
      if ContinuousClock.now > nextReport {
        nextReport += .seconds(60)
        print(
          "\(rounds) rounds, \(messages) messages, \(longLived.ledger.accepted) in the long-lived one; "
            + "resident: \(memory.last / 1024) KiB")
        fflush(nil)
      }
    }
    try await steady
    messages += longLived.ledger.accepted
    let live = Payload.live
    guard live == 0 else { throw SoakFailure("\(live) messages are still in memory after the end") }
    print("\(rounds) rounds, \(messages) messages, each settled once and freed")
    try memory.check()
  }
}

struct SoakFailure: Error, CustomStringConvertible {
  let description: String

  init(_ description: String) { self.description = description }
}

/// Resident memory over time.
final class Memory {
  private var samples: [Int] = []
  private(set) var last = 0

  func sample() {
    guard let text = try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8) else { return }
    let fields = text.split(separator: " ")
    guard fields.count > 1, let pages = Int(fields[1]) else { return }
    last = pages * Int(sysconf(Int32(_SC_PAGESIZE)))
    samples.append(last)
  }

  /// Compares the second sixth with the last one: the first is when caches fill.
  func check() throws {
    let sixth = samples.count / 6
    guard sixth >= 3 else {
      print("too short to say whether memory is flat")
      return
    }
    func median(_ part: ArraySlice<Int>) -> Int { part.sorted()[part.count / 2] }
    let early = median(samples[sixth..<(2 * sixth)])
    let late = median(samples.suffix(sixth))
    let most = samples.max() ?? 0
    print(
      "resident: \(early / 1024) KiB in the second sixth, \(late / 1024) KiB in the last, the most \(most / 1024) KiB")
    guard late <= early + early / 10 + (4 << 20) else { throw SoakFailure("memory grows") }
  }
}
