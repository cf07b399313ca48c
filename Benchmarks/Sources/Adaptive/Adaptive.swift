// An aggregator that adapts, before a simulated backend whose knee moves: does it find the most that can be had, from a bad
// start, and does it follow? Real time, real tasks; only the backend's work is a sleep.
//
//   make adaptation    prints what was found, and draws Benchmarks/plots/adaptation.svg

import Batching
import Foundation
import Synchronization

/// Calls cost something each and something for each message; beyond the knee each slows all the others.
final class Backend: Sendable {
  private struct State {
    var running = 0
    var knee = 8.0
  }

  static let perCall = 4e-3
  static let perMessage = 40e-6

  private let state = Mutex(State())

  var knee: Double {
    get { state.withLock { $0.knee } }
    set { state.withLock { $0.knee = newValue } }
  }

  func handle(_ messages: Int) async throws {
    let crowding = state.withLock { state in
      state.running += 1
      return max(1, Double(state.running) / state.knee)
    }
    defer { state.withLock { $0.running -= 1 } }
    let seconds = (Self.perCall + Self.perMessage * Double(messages)) * crowding * crowding
    try await Task.sleep(for: .seconds(seconds))
  }

  /// The most that gets through in calls of the target's time.
  func best(target: Double, largest: Double) -> Double {
    let messages = min(largest, (target - Self.perCall) / Self.perMessage)
    return knee * messages / (Self.perCall + Self.perMessage * messages)
  }
}

struct Sample {
  var second: Double
  var throughput: Double
  var best: Double
  var batchSize: Int
  var concurrency: Int
}

@main
struct Adaptive {
  static let target = 20e-3
  static let largest = 1000
  /// Seconds, and the knee from then on.
  static let phases: [(seconds: Double, knee: Double)] = [(25, 8), (25, 3), (25, 14)]

  static func main() async throws {
    let backend = Backend()
    let aggregator = try Aggregator<Int>(
      configuration: .init(
        batchSize: 1, linger: .zero, concurrency: 1,
        adaptation: .towards(handlerTime: .seconds(target), batchSize: 1...largest, concurrency: 1...32))
    ) { batch in
      try await backend.handle(batch.count)
    }
    let run = Task { try await aggregator.run() }
    let sender = Task {
      let messages = Array(0..<1000)
      while !Task.isCancelled { try await aggregator.send(contentsOf: messages) }
    }
    var samples: [Sample] = []
    let start = ContinuousClock.now
    var end = 0.0
    for phase in phases {
      backend.knee = phase.knee
      end += phase.seconds
      var last = (time: ContinuousClock.now, handled: aggregator.statistics.handled)
      while (ContinuousClock.now - start) / .seconds(1) < end {
        try await Task.sleep(for: .milliseconds(500))
        let now = (time: ContinuousClock.now, handled: aggregator.statistics.handled)
        let configuration = aggregator.configuration
        samples.append(
          Sample(
            second: (now.time - start) / .seconds(1),
            throughput: Double(now.handled - last.handled) / ((now.time - last.time) / .seconds(1)),
            best: backend.best(target: target, largest: Double(largest)), batchSize: configuration.batchSize,
            concurrency: configuration.concurrency))
        last = now
      }
      // The second half: what it has found.
      let found = samples.suffix(Int(phase.seconds)).map(\.throughput).sorted()
      let median = found[found.count / 2]
      let best = backend.best(target: target, largest: Double(largest))
      print(
        "knee \(Int(phase.knee)): \(Int(median)) messages a second of \(Int(best)) (\(Int(100 * median / best)) %), "
          + "batch size \(aggregator.configuration.batchSize), concurrency \(aggregator.configuration.concurrency)")
    }
    sender.cancel()
    aggregator.shutdown()
    try await run.value
    let file = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../../plots/adaptation.svg")
      .standardized
    try drawing(samples).write(to: file, atomically: true, encoding: .utf8)
  }

  static func drawing(_ samples: [Sample]) -> String {
    let width = 760.0
    let most = samples.map { max($0.throughput, $0.best) }.max() ?? 1
    let seconds = samples.last?.second ?? 1
    func x(_ second: Double) -> String { String(format: "%.1f", 70 + 660 * second / seconds) }
    func y(_ value: Double, of most: Double, from top: Double) -> String {
      String(format: "%.1f", top + 160 * (1 - value / most))
    }
    func line(_ colour: String, _ points: [String]) -> String {
      "<polyline fill='none' stroke-width='2' stroke='\(colour)' points='\(points.joined(separator: " "))'/>"
    }
    let throughput = samples.map { "\(x($0.second)),\(y($0.throughput, of: most, from: 40))" }
    let best = samples.map { "\(x($0.second)),\(y($0.best, of: most, from: 40))" }
    let sizes = samples.map { "\(x($0.second)),\(y(Double($0.batchSize) / Double(largest), of: 1, from: 240))" }
    let slots = samples.map { "\(x($0.second)),\(y(Double($0.concurrency) / 32, of: 1, from: 240))" }
    return """
      <svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 \(Int(width)) 450' role='img'>
      <title>Adaptation before a backend whose knee moves</title>
      <style>
        text { font: 13px system-ui, sans-serif; fill: #444 } .grid { stroke: #8884 }
        @media (prefers-color-scheme: dark) { text { fill: #ccc } }
      </style>
      <text x='10' y='20' font-weight='bold'>Adaptation: a backend whose knee moves from 8 to 3 to 14 calls</text>
      <line class='grid' x1='70' x2='730' y1='200' y2='200'/><line class='grid' x1='70' x2='730' y1='400' y2='400'/>
      <text x='62' y='48' text-anchor='end'>\(Int(most / 1000))k/s</text><text x='62' y='204' text-anchor='end'>0</text>
      <text x='62' y='404' text-anchor='end'>0</text><text x='70' y='422'>0 s</text>
      <text x='730' y='422' text-anchor='end'>\(Int(seconds)) s</text>
      \(line("#868e96", best))
      \(line("#e8590c", throughput))
      \(line("#4c6ef5", sizes))
      \(line("#2f9e44", slots))
      <text x='80' y='442'><tspan fill='#868e96'>the most there is</tspan>, <tspan fill='#e8590c'>what gets through</tspan>;
      below: <tspan fill='#4c6ef5'>batch size, of \(largest)</tspan>, <tspan fill='#2f9e44'>concurrency, of 32</tspan></text>
      </svg>

      """
  }
}
