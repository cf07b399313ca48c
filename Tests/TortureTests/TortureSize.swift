import Foundation

/// How much the torture is: a little in each test run, all of it by `make torture`, which sets `TORTURE=full`.
enum TortureSize {
  static let isFull = ProcessInfo.processInfo.environment["TORTURE"] == "full"

  /// How often the program is killed, for each sink.
  static var kills: Int { number("TORTURE_KILLS") ?? (isFull ? 1_000 : 25) }

  /// How long it is loaded.
  static var loadTime: Duration { .seconds(number("TORTURE_SECONDS") ?? (isFull ? 600 : 3)) }

  /// How many messages go through edges, a log and storing members at least.
  static var logMessages: Int { number("TORTURE_MESSAGES") ?? (isFull ? 1_000_000 : 5_000) }

  /// How many connections are left half open.
  static var halfOpenConnections: Int { isFull ? 10_000 : 1_000 }

  /// The seed of all that is random; a failing run prints it.
  static let seed = number("TORTURE_SEED").map { UInt64($0) } ?? UInt64.random(in: 0..<1 << 32)

  private static func number(_ variable: String) -> Int? {
    ProcessInfo.processInfo.environment[variable].flatMap { Int($0) }
  }
}
