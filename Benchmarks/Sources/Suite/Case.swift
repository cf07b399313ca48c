/// One way to hand over messages, and what it is to reach.
struct Case {
  let name: String
  /// How many messages a round has: fewer where each takes long, so that a round is a fraction of a second.
  let messages: Int
  /// Seconds for so many messages.
  let measure: (Int) async throws -> Double

  init(_ name: String, messages: Int, _ measure: @escaping (Int) async throws -> Double) {
    self.name = name
    self.messages = messages
    self.measure = measure
  }
}

/// What a case took, round by round, in nanoseconds a message.
struct Timing {
  let name: String
  var rounds: [Double] = []

  var median: Double { rounds.isEmpty ? .nan : rounds.sorted()[rounds.count / 2] }
  var least: Double { rounds.min() ?? .nan }
  var most: Double { rounds.max() ?? .nan }
}

/// Measures the cases in turns, round after round, so that a machine that is slow for a while is slow for all of them.
///
/// The first round is a warm-up.
func measure(_ cases: [Case], rounds: Int) async throws -> [Timing] {
  var timings = cases.map { Timing(name: $0.name) }
  for round in 0...rounds {
    for (index, one) in cases.enumerated() {
      let time = try await one.measure(one.messages)
      if round > 0 { timings[index].rounds.append(time / Double(one.messages) * 1e9) }
    }
    progress(".")
  }
  progress("\n")
  return timings
}

extension [Timing] {
  subscript(name: String) -> Double? { first { $0.name == name }?.median }
}
