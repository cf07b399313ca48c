import Batching
import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// What handing over one message costs, beside what it costs to append it to an array and not hand it over at all.
///
/// The cases take turns, round after round, so that a machine that is slow for a while is slow for all of them. The table
/// has the median of the rounds, and its ratio to the floor of the same rounds.
@main
struct HandOver {
  static func main() async throws {
    let messages = CommandLine.arguments.dropFirst().first.flatMap { Int($0) } ?? 4_000_000
    let rounds = CommandLine.arguments.dropFirst(2).first.flatMap { Int($0) } ?? 7
    let cases = Case.all
    var times = [[Double]](repeating: [], count: cases.count)
    for round in 0...rounds {
      for (index, one) in cases.enumerated() {
        let time = try await one.measure(messages)
        if round > 0 { times[index].append(time / Double(messages) * 1e9) }  // the first is a warm-up
      }
    }
    let medians = times.map { $0.sorted()[$0.count / 2] }
    print("\(messages) messages of type Int, median of \(rounds) interleaved rounds, wall clock\n")
    print("| case | ns a message | min … max | × floor |")
    print("|---|---:|---:|---:|")
    for (index, one) in cases.enumerated() {
      let sorted = times[index].sorted()
      print(
        "| \(one.name) | \(text(medians[index])) | \(text(sorted[0])) … \(text(sorted[sorted.count - 1])) "
          + "| \(text(medians[index] / medians[0])) |")
    }
  }

  static func text(_ number: Double) -> String {
    let tenths = Int((number * 10).rounded())
    return "\(tenths / 10).\(tenths % 10)"
  }
}

struct Case {
  let name: String
  /// Seconds for so many messages.
  let measure: (Int) async throws -> Double

  static var all: [Case] {
    [
      Case(name: "floor: append, drop every 512") { appendToArray($0) },
      Case(name: "`Mutex`, append, drop every 512") { appendUnderLock($0) },
      Case(name: "`trySend`, batch 512, 1 producer") { try await trySend($0, batchSize: 512, producers: 1) },
      Case(name: "`trySend`, batch 512, 2 producers") { try await trySend($0, batchSize: 512, producers: 2) },
      Case(name: "`trySend`, batch 512, 4 producers") { try await trySend($0, batchSize: 512, producers: 4) },
      Case(name: "`send`, batch 512, 1 producer") { try await send($0, batchSize: 512, producers: 1) },
      Case(name: "`send`, batch 512, 2 producers") { try await send($0, batchSize: 512, producers: 2) },
      Case(name: "`send`, batch 512, 64 producers") { try await send($0, batchSize: 512, producers: 64) },
      Case(name: "`send(contentsOf:)`, slices of 100, batch 512") { try await sendSlices($0, batchSize: 512) },
      Case(name: "`send`, batch 8, 1 producer") { try await send($0, batchSize: 8, producers: 1) },
      Case(name: "`send`, batch 8, 64 producers") { try await send($0, batchSize: 8, producers: 64) },
    ]
  }
}

/// Keeps the optimiser from seeing that nobody looks at the messages.
@inline(never)
func consume(_ messages: [Int]) -> Int { messages.count }

func seconds(_ body: () async throws -> Void) async rethrows -> Double {
  let start = ContinuousClock.now
  try await body()
  return (ContinuousClock.now - start) / .seconds(1)
}

func appendToArray(_ count: Int) -> Double {
  let start = ContinuousClock.now
  var array: [Int] = []
  array.reserveCapacity(512)
  for message in 0..<count {
    array.append(message)
    if array.count == 512 {
      _ = consume(array)
      array = []
      array.reserveCapacity(512)
    }
  }
  return (ContinuousClock.now - start) / .seconds(1)
}

func appendUnderLock(_ count: Int) -> Double {
  let start = ContinuousClock.now
  let guarded = Mutex<[Int]>([])
  guarded.withLock { $0.reserveCapacity(512) }
  for message in 0..<count {
    guarded.withLock { array in
      array.append(message)
      if array.count == 512 {
        _ = consume(array)
        array = []
        array.reserveCapacity(512)
      }
    }
  }
  return (ContinuousClock.now - start) / .seconds(1)
}

/// The whole way: until every message has been through the handler.
func pipeline(
  _ count: Int, batchSize: Int, producers: Int,
  produce: @escaping @Sendable (Aggregator<Int>, Range<Int>) async throws -> Void
) async throws -> Double {
  let handled = Atomic<Int>(0)
  return try await seconds {
    try await withAggregator(of: Int.self, configuration: .init(batchSize: batchSize)) { batch in
      handled.add(consume(batch.messages), ordering: .relaxed)
    } body: { aggregator in
      try await withThrowingTaskGroup(of: Void.self) { group in
        for producer in 0..<producers {
          group.addTask {
            try await produce(aggregator, count / producers * producer..<count / producers * (producer + 1))
          }
        }
        try await group.waitForAll()
      }
    }
    precondition(handled.load(ordering: .relaxed) == count / producers * producers, "messages were lost")
  }
}

func trySend(_ count: Int, batchSize: Int, producers: Int) async throws -> Double {
  try await pipeline(count, batchSize: batchSize, producers: producers) { aggregator, messages in
    for message in messages {
      while aggregator.trySend(message) != .accepted { await Task.yield() }
    }
  }
}

func send(_ count: Int, batchSize: Int, producers: Int) async throws -> Double {
  try await pipeline(count, batchSize: batchSize, producers: producers) { aggregator, messages in
    for message in messages { try await aggregator.send(message) }
  }
}

func sendSlices(_ count: Int, batchSize: Int) async throws -> Double {
  let slices = Array(0..<count)
  return try await pipeline(count, batchSize: batchSize, producers: 1) { aggregator, messages in
    var start = messages.lowerBound
    while start < messages.upperBound {
      let end = min(start + 100, messages.upperBound)
      try await aggregator.send(contentsOf: slices[start..<end])
      start = end
    }
  }
}
