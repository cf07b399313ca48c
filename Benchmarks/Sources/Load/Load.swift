import Foundation

/// Loads the real program with real clients on this machine, and proves that every message is stored exactly once.
///
///     Load PROGRAM [ROUNDS [SECONDS [FIRST LETTERS OF A SCENARIO]]]
///
/// Two things are asked: what does it bring single messages, each answered after its commit, that the program stores batches; and how
/// many messages a second does it take in bodies of a thousand lines. The program runs as it does by default, durable when it answers.
@main
struct Load {
  static func main() throws {
    let arguments = CommandLine.arguments
    guard arguments.count >= 2 else {
      print("usage: Load PROGRAM [ROUNDS [SECONDS [SCENARIO]]]")
      exit(2)
    }
    let rounds = arguments.count > 2 ? Int(arguments[2]) ?? 5 : 5
    let seconds = arguments.count > 3 ? Double(arguments[3]) ?? 3 : 3
    let only = arguments.count > 4 ? arguments[4] : ""
    var scenarios = [
      Scenario("single messages, 64 keep-alive clients", clients: 64, messagesEach: 1),
      Scenario("the same, `--batch-size 1`", clients: 64, messagesEach: 1, options: ["--batch-size", "1"]),
      Scenario("NDJSON, bodies of 1,000 messages of 200 bytes, 4 clients", clients: 4, messagesEach: 1000),
    ].filter { $0.name.hasPrefix(only) }
    for _ in 0..<rounds {
      for index in scenarios.indices { try scenarios[index].run(arguments[1], seconds: seconds) }
    }
    print("Databases on \(Server.fileSystem()), WAL, synchronous=FULL; \(rounds) rounds of \(seconds) s each.\n")
    print(Scenario.header)
    for scenario in scenarios { print(scenario.row) }
    guard scenarios.count == 3 else { return }
    let ratio = scenarios[0].rate / scenarios[1].rate
    print("\n| goal | measured | aim | reached |\n|---|---:|---:|---|")
    print(
      "| batches against batch size 1, single messages | \(String(format: "%.1f", ratio)) × | ≥ 20 × "
        + "| \(ratio >= 20 ? "yes" : "no") |")
    print(
      "| NDJSON, messages a second | \(Scenario.grouped(scenarios[2].rate)) | ≥ 150,000 "
        + "| \(scenarios[2].rate >= 150_000 ? "yes" : "no") |")
  }
}
