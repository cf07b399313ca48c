import Foundation
import LoadSupport

/// Loads the real program with real clients on this machine, and proves that every message is stored exactly once.
///
/// What is asked: what does it bring single messages, each answered after its commit, that the program stores batches; how many
/// messages a second does it take in bodies of a thousand lines; and does its memory stay flat. The program runs as it does by
/// default, and the stores are durable when they answer.
@main
struct Load {
  static func main() {
    do {
      let arguments = try Arguments(Array(CommandLine.arguments.dropFirst()))
      var runs: [Run] = []
      let failure = fill(&runs, arguments)
      let report = Report(runs, seconds: arguments.seconds, rounds: arguments.rounds)
      if !runs.isEmpty { print(report.text) }
      if let failure { throw failure }
      if let file = arguments.file { try report.write(into: file) }
    } catch {
      FileHandle.standardError.write(Data("\(error)\n".utf8))
      exit(1)
    }
  }

  /// Runs all parts in turns; after an error there are those before it.
  private static func fill(_ runs: inout [Run], _ arguments: Arguments) -> (any Error)? {
    for round in 1...arguments.rounds {
      for part in arguments.parts {
        do {
          let run = try Run(part, program: arguments.program, seconds: arguments.seconds)
          runs.append(run)
          let line = "\(part.name), round \(round): \(grouped(run.rate)) messages a second\n"
          FileHandle.standardError.write(Data(line.utf8))
        } catch {
          return LoadError(description: "\(part.name): \(error)")
        }
      }
    }
    return nil
  }
}

/// A whole number with commas.
func grouped(_ number: Double) -> String {
  var digits = String(Int(abs(number).rounded()))
  for place in stride(from: digits.count - 3, to: 0, by: -3) {
    digits.insert(",", at: digits.index(digits.startIndex, offsetBy: place))
  }
  return number <= -0.5 ? "−\(digits)" : digits
}
