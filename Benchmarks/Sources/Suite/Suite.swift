import Foundation

/// Measures everything, prints it, and writes `Benchmarks/RESULTS.md` and the plots beside it.
///
///     Suite [--rounds N] [--scale X] [--only TEXT] [--peers FOLDER] [--write]
///
/// `--only` times the cases whose names contain the text, beside the floor, and nothing else.
@main
struct Suite {
  static func main() async throws {
    let options = Options(CommandLine.arguments)
    let channels = ExternalPeer(options.peers + "/channels")
    let disruptor = ExternalPeer(options.peers + "/disruptor")
    let cases = Cases(scale: options.scale, channels: channels, disruptor: disruptor)
    if let only = options.only {
      let chosen = (cases.ours + cases.peers.map(\.1)).filter { $0.name.contains(only) }
      let timings = try await measure(cases.floors + chosen, rounds: options.rounds)
      print(Report.table(timings))
      return
    }
    progress("hand-over ")
    let handOver = try await measure(cases.floors + cases.ours + cases.peers.map(\.1), rounds: options.rounds)
    let sweeps = Sweeps(scale: options.scale)
    let fewer = max(options.rounds / 2, 1)
    progress("producers and batch sizes ")
    let grid = try await measure(sweeps.grid, rounds: fewer)
    progress("types and handlers ")
    let types = try await measure(sweeps.types, rounds: fewer)
    let handlers = try await measure(sweeps.handlers, rounds: fewer)
    progress("latency\n")
    let latency = Latency(
      fullBatch: try await fullBatchToHandler(batches: max(Int(2000 * options.scale), 100)),
      linger: try await lingerLateness(rounds: max(Int(400 * options.scale), 30)),
      contended: try await trySendUnderContention(threads: 8, callsEach: max(Int(250_000 * options.scale), 1000)))
    let memory = Memory(
      int: try await bytesHeld(1) / Double(MemoryLayout<Int>.stride),
      line: try await bytesHeld(CacheLine()) / Double(MemoryLayout<CacheLine>.stride))
    let missing = [("Go channel", channels), ("Disruptor", disruptor)].filter { $0.1 == nil }.map {
      "\($0.0): missing, its tools could not be installed or did not build it"
    }
    let report = Report(
      machine: Machine(peers: missing), rounds: options.rounds, handOver: handOver, cases: cases, grid: grid,
      types: types,
      handlers: handlers, latency: latency, memory: memory)
    print(report.text)
    if options.writes { try report.write(to: URL(filePath: "Benchmarks")) }
  }

  struct Options {
    var rounds = 7
    var scale = 1.0
    var only: String?
    var peers = "Benchmarks/.build/peers"
    var writes = false

    init(_ arguments: [String]) {
      var rest = arguments.dropFirst()
      while let name = rest.popFirst() {
        switch name {
        case "--write": writes = true
        case "--rounds": rounds = rest.popFirst().flatMap { Int($0) } ?? rounds
        case "--scale": scale = rest.popFirst().flatMap { Double($0) } ?? scale
        case "--only": only = rest.popFirst()
        case "--peers": peers = rest.popFirst() ?? peers
        default:
          print("unknown: \(name)\nusage: Suite [--rounds N] [--scale X] [--only TEXT] [--peers FOLDER] [--write]")
          exit(2)
        }
      }
    }
  }
}

/// How long things take that should take no time.
struct Latency {
  let fullBatch: Percentiles
  let linger: (linger: Percentiles, bare: Percentiles)
  let contended: Percentiles
}

/// Bytes held for each message, in strides of its type.
struct Memory {
  let int: Double
  let line: Double
}

func progress(_ text: String) {
  FileHandle.standardError.write(Data(text.utf8))
}
