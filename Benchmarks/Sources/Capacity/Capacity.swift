import Foundation

/// Calculates what loads take, from 10,000 to 10,000,000 messages a second.
///
///     Capacity [NAME=VALUE …] [RATE …]
@main
struct Capacity {
  static func main() {
    var model = Model()
    var rates: [Double] = []
    for argument in CommandLine.arguments.dropFirst() {
      let parts = argument.split(separator: "=", maxSplits: 1).map(String.init)
      if parts.count == 1, let rate = Double(parts[0]), rate > 0 {
        rates.append(rate)
      } else if parts.count == 2, let value = Double(parts[1]), value > 0,
        let parameter = Model.parameters.first(where: { $0.name == parts[0] })
      {
        model[keyPath: parameter.path] = value
      } else {
        explain(model)
        exit(argument == "--help" ? 0 : 2)
      }
    }
    if rates.isEmpty { rates = [10_000, 100_000, 1_000_000, 10_000_000] }
    print(
      """
      | messages a second | edges | on machines | streams or partitions | log servers | members | on machines | PostgreSQL servers \
      | commits a second | network, all ways | log's disks, each day |
      |---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|
      """)
    for rate in rates { print(row(rate, model.demand(of: rate))) }
  }

  private static func row(_ rate: Double, _ demand: Model.Demand) -> String {
    let cells = [
      grouped(rate), grouped(demand.edges), grouped(demand.edgeMachines), grouped(demand.streams),
      grouped(demand.logMachines), grouped(demand.members), grouped(demand.memberMachines),
      grouped(demand.storeMachines), grouped(demand.commits), scaled(demand.networkBits, "bit/s"),
      scaled(demand.diskBytes * 86_400, "B"),
    ]
    return "| " + cells.joined(separator: " | ") + " |"
  }

  private static func explain(_ model: Model) {
    print("usage: Capacity [NAME=VALUE …] [RATE …], with rates in messages a second, and of the names:")
    for parameter in Model.parameters {
      let name = parameter.name.padding(toLength: 13, withPad: " ", startingAt: 0)
      print("  \(name)\(parameter.meaning) (\(grouped(model[keyPath: parameter.path], fractions: true)))")
    }
  }

  private static func grouped(_ number: Double, fractions: Bool = false) -> String {
    if fractions, number != number.rounded() { return "\(number)" }
    var digits = String(Int(number.rounded()))
    for place in stride(from: digits.count - 3, to: 0, by: -3) {
      digits.insert(",", at: digits.index(digits.startIndex, offsetBy: place))
    }
    return digits
  }

  private static func scaled(_ number: Double, _ unit: String) -> String {
    for (size, letter) in [(1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M")] where number >= size {
      return String(format: "%.1f ", number / size) + letter + unit
    }
    return "\(grouped(number)) \(unit)"
  }
}
