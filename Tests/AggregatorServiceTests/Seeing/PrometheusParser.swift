import Testing

/// Reads Prometheus's text format 0.0.4, strictly: what it does not understand fails the test.
struct PrometheusParser {
  struct Family {
    var type: String
    var help: String
    var samples: [Sample] = []
  }

  struct Sample: Equatable {
    var name: String
    var labels: [String: String]
    var value: Double
  }

  struct Malformed: Error, CustomStringConvertible {
    var description: String
  }

  private(set) var families: [String: Family] = [:]

  /// The value of the one sample of this name with these labels.
  func value(_ name: String, _ labels: [String: String] = [:]) -> Double? {
    let found = families.values.flatMap(\.samples).filter { $0.name == name && $0.labels == labels }
    return found.count == 1 ? found[0].value : nil
  }

  init(_ text: String) throws {
    guard text.hasSuffix("\n") else { throw Malformed(description: "the last line has no line feed") }
    var current: String?
    var seen: Set<String> = []
    for line in text.dropLast().split(separator: "\n", omittingEmptySubsequences: false) {
      if line.hasPrefix("# HELP ") {
        let parts = line.dropFirst(7).split(separator: " ", maxSplits: 1)
        guard parts.count == 2, families[String(parts[0])] == nil else {
          throw Malformed(description: "a family comes twice, or has no help: \(line)")
        }
        current = String(parts[0])
        families[String(parts[0])] = Family(type: "", help: String(parts[1]))
      } else if line.hasPrefix("# TYPE ") {
        let parts = line.dropFirst(7).split(separator: " ")
        guard parts.count == 2, String(parts[0]) == current, families[String(parts[0])]?.type == "",
          ["counter", "gauge", "histogram", "summary"].contains(parts[1])
        else { throw Malformed(description: "a type out of place: \(line)") }
        families[String(parts[0])]?.type = String(parts[1])
      } else {
        let sample = try Self.sample(line)
        guard let family = current, let type = families[family]?.type, Self.belongs(sample, to: family, type) else {
          throw Malformed(description: "a sample out of place: \(line)")
        }
        let series = "\(sample.name)\(sample.labels.sorted { $0.key < $1.key })"
        guard seen.insert(series).inserted else { throw Malformed(description: "twice: \(line)") }
        families[family]?.samples.append(sample)
      }
    }
    for (name, family) in families where family.type == "histogram" { try Self.check(family, name) }
  }

  private static func belongs(_ sample: Sample, to family: String, _ type: String) -> Bool {
    switch type {
    case "histogram":
      sample.name == family + "_bucket" && sample.labels["le"] != nil || sample.name == family + "_sum"
        || sample.name == family + "_count"
    case "summary":
      sample.name == family && sample.labels["quantile"] != nil || sample.name == family + "_sum"
        || sample.name == family + "_count"
    case "counter": sample.name == family && family.hasSuffix("_total") && sample.value >= 0
    case "gauge": sample.name == family
    default: false
    }
  }

  /// Buckets grow, end with +Inf, and that is the count.
  private static func check(_ family: Family, _ name: String) throws {
    let series = Set(
      family.samples.filter { $0.name.hasSuffix("_count") }.map(\.labels))
    for labels in series {
      let buckets = family.samples.filter { sample in
        var bare = sample.labels
        bare["le"] = nil
        return sample.name == name + "_bucket" && bare == labels
      }
      let bounds = buckets.compactMap { Double($0.labels["le"]?.replacing("+Inf", with: "inf") ?? "") }
      let counts = buckets.map(\.value)
      let count = family.samples.first { $0.name == name + "_count" && $0.labels == labels }?.value
      guard bounds == bounds.sorted(), bounds.last == .infinity, counts == counts.sorted(), counts.last == count else {
        throw Malformed(description: "buckets of \(name) do not add up: \(buckets)")
      }
    }
  }

  private static func sample(_ line: Substring) throws -> Sample {
    var rest = line[...]
    let name = rest.prefix { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "_" || $0 == ":") }
    rest = rest.dropFirst(name.count)
    guard let first = name.first, !first.isNumber else { throw Malformed(description: "no name: \(line)") }
    var labels: [String: String] = [:]
    if rest.first == "{" {
      rest = rest.dropFirst()
      while true {
        let key = rest.prefix { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "_") }
        rest = rest.dropFirst(key.count)
        guard let first = key.first, !first.isNumber, rest.hasPrefix("=\"") else {
          throw Malformed(description: "no label: \(line)")
        }
        rest = rest.dropFirst(2)
        guard labels.updateValue(try quoted(&rest), forKey: String(key)) == nil else {
          throw Malformed(description: "a label comes twice: \(line)")
        }
        let next = rest.popFirst()
        if next == "}" { break }
        guard next == "," else { throw Malformed(description: "labels do not end: \(line)") }
      }
    }
    guard rest.popFirst() == " ", !rest.contains(" ") else { throw Malformed(description: "no value: \(line)") }
    let value = rest == "NaN" ? Double.nan : rest == "+Inf" ? .infinity : rest == "-Inf" ? -.infinity : Double(rest)
    guard let value else { throw Malformed(description: "no number: \(line)") }
    return Sample(name: String(name), labels: labels, value: value)
  }

  private static func quoted(_ rest: inout Substring) throws -> String {
    var text = ""
    while let character = rest.popFirst() {
      switch character {
      case "\"": return text
      case "\\":
        switch rest.popFirst() {
        case "n": text += "\n"
        case "\\": text += "\\"
        case "\"": text += "\""
        default: throw Malformed(description: "an unknown escape")
        }
      default: text.append(character)
      }
    }
    throw Malformed(description: "a value of a label does not end")
  }
}
