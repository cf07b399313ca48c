import Foundation
import Synchronization

/// Loads the real program with real clients on this machine, and proves that every message is stored exactly once.
///
///     Load PROGRAM [ROUNDS]
///
/// Two things are asked: what does it bring single messages, each answered after its commit, that the program stores batches; and how
/// many messages a second does it take in bodies of a thousand lines.
@main
struct Load {
  static func main() throws {
    guard CommandLine.arguments.count >= 2 else {
      print("usage: Load PROGRAM [ROUNDS]")
      exit(2)
    }
    let program = CommandLine.arguments[1]
    let rounds = CommandLine.arguments.dropFirst(2).first.flatMap { Int($0) } ?? 3
    var scenarios = [
      Scenario(
        name: "single messages, 64 clients, batches", options: [], clients: 64, requests: 400,
        request: post("application/json", line(0)), messagesEach: 1),
      Scenario(
        name: "single messages, 64 clients, batch size 1", options: ["--batch-size", "1"], clients: 64, requests: 15,
        request: post("application/json", line(0)), messagesEach: 1),
      Scenario(
        name: "NDJSON, 1,000 messages of 200 bytes, 4 clients", options: [], clients: 4, requests: 100,
        request: post("application/x-ndjson", (0..<1000).map(line).joined(separator: "\n")), messagesEach: 1000),
    ]
    for round in 0..<rounds {
      for index in scenarios.indices {
        try scenarios[index].run(program, port: UInt16(20_000 + Int(getpid()) % 20_000 + round * 10 + index))
      }
    }
    print("| scenario | messages a second | answer after, median | 99 % |")
    print("|---|---:|---:|---:|")
    for scenario in scenarios { print(scenario.row) }
    let ratio = scenarios[0].median / scenarios[1].median
    print("\nbatches against batch size 1: \(String(format: "%.1f", ratio)) × (goal: 20 ×)")
    print("NDJSON: \(Int(scenarios[2].median)) messages a second (goal: 150,000)")
  }

  /// A message of 200 bytes.
  static func line(_ number: Int) -> String {
    let start = "{\"number\":\(number),\"text\":\""
    return start + String(repeating: "x", count: 200 - start.utf8.count - 2) + "\"}"
  }

  static func post(_ type: String, _ body: String) -> [UInt8] {
    Array(
      ("POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: \(type)\r\n"
        + "Content-Length: \(body.utf8.count)\r\n\r\n" + body).utf8)
  }
}

/// So many clients that each send the same request again and again.
struct Scenario {
  let name: String
  let options: [String]
  let clients: Int
  let requests: Int
  let request: [UInt8]
  let messagesEach: Int
  private var rates: [Double] = []
  private var times: [Double] = []

  init(name: String, options: [String], clients: Int, requests: Int, request: [UInt8], messagesEach: Int) {
    self.name = name
    self.options = options
    self.clients = clients
    self.requests = requests
    self.request = request
    self.messagesEach = messagesEach
  }

  var median: Double { rates.sorted()[rates.count / 2] }

  var row: String {
    let sorted = times.sorted()
    let milliseconds = [sorted.count / 2, sorted.count * 99 / 100].map { String(format: "%.2f ms", sorted[$0] * 1000) }
    return "| \(name) | \(Int(median)) | \(milliseconds[0]) | \(milliseconds[1]) |"
  }

  mutating func run(_ program: String, port: UInt16) throws {
    let server = try Server(program: program, port: port, options: options)
    let all = Mutex<[Double]>([])
    let failure = Mutex<(any Error)?>(nil)
    let done = DispatchSemaphore(value: 0)
    let (request, requests) = (request, requests)
    let start = ContinuousClock.now
    for _ in 0..<clients {
      Thread.detachNewThread {
        do {
          var connection = try Connection(port: port)
          defer { connection.close() }
          var times: [Double] = []
          for _ in 0..<requests {
            let begin = ContinuousClock.now
            try connection.exchange(request)
            times.append((ContinuousClock.now - begin) / .seconds(1))
          }
          all.withLock { $0 += times }
        } catch {
          failure.withLock { $0 = error }
        }
        done.signal()
      }
    }
    for _ in 0..<clients { done.wait() }
    let seconds = (ContinuousClock.now - start) / .seconds(1)
    let stored = try server.stop()
    if let error = failure.withLock({ $0 }) { throw error }
    let expected = clients * requests * messagesEach
    guard stored == expected else {
      throw LoadError(description: "\(name): \(stored) rows are stored, but \(expected) messages were answered")
    }
    rates.append(Double(expected) / seconds)
    times += all.withLock { $0 }
  }
}
