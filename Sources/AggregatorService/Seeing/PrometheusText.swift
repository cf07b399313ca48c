/// Prometheus's text format, version 0.0.4, as it is written: a family at a time, each with its help and type.
struct PrometheusText {
  static let contentType = "text/plain; version=0.0.4; charset=utf-8"

  enum Kind: String { case counter, gauge, histogram, summary }

  typealias Labels = [(name: String, value: String)]

  private(set) var text = ""

  /// Begins a family: its samples have to follow at once, and each name may come once only.
  mutating func family(_ name: String, _ kind: Kind, _ help: String) {
    text += "# HELP \(name) \(Self.escaped(help, quotes: false))\n# TYPE \(name) \(kind.rawValue)\n"
  }

  mutating func sample(_ name: String, _ labels: Labels, _ value: Int) {
    write(name, labels, String(value))
  }

  mutating func sample(_ name: String, _ labels: Labels, _ value: Double) {
    write(name, labels, Self.number(value))
  }

  mutating func sample(_ name: String, _ value: Int) { sample(name, [], value) }

  mutating func sample(_ name: String, _ value: Double) { sample(name, [], value) }

  private mutating func write(_ name: String, _ labels: Labels, _ value: String) {
    text += name
    if !labels.isEmpty {
      text += "{"
      for (index, label) in labels.enumerated() {
        text += "\(index == 0 ? "" : ",")\(label.name)=\"\(Self.escaped(label.value, quotes: true))\""
      }
      text += "}"
    }
    text += " \(value)\n"
  }

  static func number(_ value: Double) -> String {
    if value.isNaN { return "NaN" }
    if value.isInfinite { return value < 0 ? "-Inf" : "+Inf" }
    if value == value.rounded(), value.magnitude < 1e15 { return String(Int64(value)) }
    return "\(value)"
  }

  private static func escaped(_ text: String, quotes: Bool) -> String {
    guard text.utf8.contains(where: { $0 == 0x5C || $0 == 0x0A || $0 == 0x22 }) else { return text }
    var result = ""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\\": result += "\\\\"
      case "\n": result += "\\n"
      case "\"" where quotes: result += "\\\""
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result
  }

  /// A metric's name: what may not be in one becomes `_`.
  static func metricName(_ label: String) -> String { sanitised(label, colons: true) }

  /// A label's name: as a metric's, without colons, and not beginning with `__`, which Prometheus keeps for itself.
  static func labelName(_ name: String) -> String {
    let result = sanitised(name, colons: false)
    return result.hasPrefix("__") ? "x" + result : result
  }

  private static func sanitised(_ text: String, colons: Bool) -> String {
    var result = ""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "a"..."z", "A"..."Z", "_": result.unicodeScalars.append(scalar)
      case "0"..."9":
        if result.isEmpty { result = "_" }
        result.unicodeScalars.append(scalar)
      case ":" where colons: result.unicodeScalars.append(scalar)
      default: result += "_"
      }
    }
    return result.isEmpty ? "_" : result
  }
}
