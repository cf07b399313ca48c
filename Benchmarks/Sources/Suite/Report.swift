import Foundation

/// What has been measured, as Markdown and as plots.
struct Report {
  let machine: Machine
  let rounds: Int
  let handOver: [Timing]
  let cases: Cases
  let grid: [Timing]
  let types: [Timing]
  let handlers: [Timing]
  let latency: Latency
  let memory: Memory

  private var floor: Double { handOver[Cases.floor] ?? .nan }
  private var lock: Double { handOver[Cases.lock] ?? .nan }

  func write(to folder: URL) throws {
    let plots = folder.appending(path: "plots")
    try FileManager.default.createDirectory(at: plots, withIntermediateDirectories: true)
    try text.write(to: folder.appending(path: "RESULTS.md"), atomically: true, encoding: .utf8)
    try peersPlot.write(to: plots.appending(path: "peers.svg"), atomically: true, encoding: .utf8)
    try gridPlot.write(to: plots.appending(path: "batch-sizes.svg"), atomically: true, encoding: .utf8)
    try typesPlot.write(to: plots.appending(path: "types.svg"), atomically: true, encoding: .utf8)
  }

  // MARK: - Text

  var text: String {
    """
    # Results

    Written by `make bench`; do not edit.

    \(machine.lines.map { "- \($0)" }.joined(separator: "\n"))

    Wall clock for a message on its whole way, until it has been through the handler; batches of 512 `Int`s unless it says
    otherwise. Medians of \(rounds) rounds in which all cases take turns; F is the floor, L the lock.

    ## Goals

    \(goals)

    ## Hand-over

    \(Self.table(handOver))

    ![Nanoseconds a message, with two producers](plots/peers.svg)

    ## How the cost grows

    With producers and batch size, `send`, ns a message:

    \(gridTable)

    ![Nanoseconds a message by batch size](plots/batch-sizes.svg)

    With the type of the message (1 producer):

    \(Self.table(types, withRatios: false))

    With the time that the handler takes (1 producer). A batch of 512 that takes 1 ms is 1,953 ns a message in each slot:

    \(Self.table(handlers, withRatios: false))

    ## Latency and memory

    | what | median | 99 % | 99.9 % | most |
    |---|---:|---:|---:|---:|
    | full batch → handler starts, µs | \(row(latency.fullBatch)) |
    | linger of 10 ms, actual minus asked, µs | \(row(latency.linger.linger)) |
    | `Task.sleep` of 10 ms, actual minus asked, µs | \(row(latency.linger.bare)) |
    | `trySend`, 8 threads at once, µs | \(row(latency.contended)) |

    A million held messages take, by malloc's account, \(number(memory.int * 100)) % of their stride as `Int`s, and
    \(number(memory.line * 100)) % as structs of 64 bytes.

    """
  }

  private func row(_ times: Percentiles) -> String {
    func microseconds(_ time: Int) -> String {
      time < 100_000 ? String(format: "%.2f", Double(time) / 1000) : number(Double(time) / 1000)
    }
    return [times[50], times[99], times[99.9], times.most].map(microseconds).joined(separator: " | ")
  }

  static func table(_ timings: [Timing], withRatios: Bool = true) -> String {
    var lines = ["| case | ns a message | least … most |", "|---|---:|---:|"]
    if withRatios { lines = ["| case | ns a message | least … most | × F | × L |", "|---|---:|---:|---:|---:|"] }
    for timing in timings {
      var line = "| \(timing.name) | \(number(timing.median)) | \(number(timing.least)) … \(number(timing.most)) |"
      if withRatios {
        for name in [Cases.floor, Cases.lock] { line += " \(number(timing.median / (timings[name] ?? .nan))) |" }
      }
      lines.append(line)
    }
    return lines.joined(separator: "\n")
  }

  private var gridTable: String {
    var lines = [
      "| batch size | " + Sweeps.producers.map { $0 == 1 ? "1 producer" : "\($0) producers" }.joined(separator: " | ")
        + " |"
    ]
    lines.append("|---:|" + Sweeps.producers.map { _ in "---:|" }.joined())
    for batchSize in Sweeps.batchSizes {
      let numbers = Sweeps.producers.map { number(grid[Sweeps.name($0, batchSize)] ?? .nan) }
      lines.append(
        "| \(number(Double(batchSize)).replacingOccurrences(of: ".0", with: "")) | \(numbers.joined(separator: " | ")) |"
      )
    }
    return lines.joined(separator: "\n")
  }

  // MARK: - Goals

  private var goals: String {
    var lines = ["| what | measured | goal | reached |", "|---|---:|---:|---|"]
    func atMost(_ what: String, _ value: Double, _ goal: Double, _ unit: String) {
      let reached = value.isNaN ? "not measured" : value <= goal ? "yes" : "no"
      lines.append("| \(what) | \(number(value)) \(unit) | ≤ \(number(goal)) \(unit) | \(reached) |")
    }
    func atLeast(_ what: String, _ value: Double, _ goal: Double, _ unit: String) {
      let reached = value.isNaN ? "not measured" : value >= goal ? "yes" : "no"
      lines.append("| \(what) | \(number(value)) \(unit) | ≥ \(number(goal)) \(unit) | \(reached) |")
    }
    func ours(_ name: String) -> Double { handOver[name] ?? .nan }
    let one = ours("`trySend`, 1 producer")
    atMost("`trySend`, 1 producer", one / floor, 8, "F")
    atMost("`trySend`, 1 producer", one / lock, 2, "L")
    atMost("`send`, 1 producer", ours("`send`, 1 producer") / floor, 8, "F")
    atMost("`send(contentsOf:)`, slices of 100", ours("`send(contentsOf:)`, slices of 100") / floor, 1.5, "F")
    atMost("`trySend`, 2 producers against 1", ours("`trySend`, 2 producers") / one, 1, "×")
    for name in ["`trySend`, 4 producers", "`trySend`, 64 tasks", "`trySend`, 64 threads"] {
      atMost("\(name) against 1", ours(name) / one, 1.2, "×")
    }
    for name in ["`send`, 64 producers", "`send`, 64 producers, capacity 64 batches"] {
      atMost("\(name) against 1", ours(name) / ours("`send`, 1 producer"), 1.2, "×")
    }
    for producers in ["1 producer", "4 producers", "64 producers"] {
      atMost("`send`, batch 8, \(producers)", ours("`send`, batch 8, \(producers)"), 60, "ns")
    }
    atMost("`KeyedAggregator`, 10,000 keys", ours("`KeyedAggregator`, 10,000 keys"), 150, "ns")
    for (producers, peer) in cases.peers {
      let same = ours(
        producers == 64
          ? "`send`, 64 producers" : "`trySend`, \(producers == 1 ? "1 producer" : "\(producers) producers")")
      let ratio = ours(peer.name) / same
      let goal =
        peer.name.hasPrefix("Go")
        ? 15.0 : peer.name.hasPrefix("`AsyncChannel`") ? 1000 : peer.name.hasPrefix("Disruptor") ? 2 : 1
      atLeast("faster than \(peer.name)", ratio, goal, "×")
    }
    atMost("memory of a held `Int`", memory.int, 1.3, "strides")
    atMost("memory of a held struct of 64 bytes", memory.line, 1.3, "strides")
    atMost("full batch → handler starts, 99 %", Double(latency.fullBatch[99]) / 1000, 100, "µs")
    atMost("linger, actual minus asked, 99 %", Double(latency.linger.linger[99]) / 1000, 2000, "µs")
    atMost("`trySend` from 8 threads, 99.9 %", Double(latency.contended[99.9]) / 1000, 5000, "µs")
    return lines.joined(separator: "\n")
  }

  // MARK: - Plots

  private var peersPlot: String {
    let names = [
      (Cases.floor, "floor"), (Cases.lock, "floor"), ("`trySend`, 2 producers", "ours"),
      ("`send`, 2 producers", "ours"),
    ]
    let bars = names + cases.peers.filter { $0.producers == 2 }.map { ($0.1.name, "peer") }
    return Plot.bars(
      "Nanoseconds a message, two producers, batches of 512 (logarithmic)",
      bars.map { .init(name: $0.0, value: handOver[$0.0] ?? .nan, kind: $0.1) })
  }

  private var gridPlot: String {
    Plot.lines(
      "Nanoseconds a message", steps: Sweeps.batchSizes.map { "\($0)" }, axis: "batch size",
      Sweeps.producers.map { producers in
        ("\(producers) producers", Sweeps.batchSizes.map { grid[Sweeps.name(producers, $0)] ?? .nan })
      })
  }

  private var typesPlot: String {
    Plot.bars(
      "Nanoseconds a message, by its type (logarithmic)",
      types.map { .init(name: $0.name, value: $0.median, kind: "ours") })
  }
}
