import Foundation

@main
struct LoadLog {
  static func main() {
    do {
      try LogBenchmark.run(Array(CommandLine.arguments.dropFirst()))
    } catch {
      FileHandle.standardError.write(Data("\(error)\n".utf8))
      exit(1)
    }
  }
}

func median(_ values: [Double]) -> Double { values.sorted()[values.count / 2] }

/// A whole number with commas.
func grouped(_ number: Double) -> String {
  var digits = String(Int(number.rounded()))
  for place in stride(from: digits.count - 3, to: 0, by: -3) {
    digits.insert(",", at: digits.index(digits.startIndex, offsetBy: place))
  }
  return digits
}
