import AggregatorStorage

/// Takes values out of an address's parameters, and finds at the end those that nobody knows.
struct Parameters {
  private var values: [String: String]
  private var known: [String] = []
  private let address: String

  init(_ address: NATSAddress) {
    values = address.parameters
    self.address = address.description
  }

  mutating func text(_ name: String) -> String? {
    known.append(name)
    return values.removeValue(forKey: name)
  }

  mutating func number(_ name: String, in range: ClosedRange<Int>) throws(ProgramError) -> Int? {
    guard let text = text(name) else { return nil }
    guard let number = Int(text), range.contains(number) else {
      throw ProgramError(
        "\(address): \(name) is '\(text)': give a number from \(range.lowerBound) to \(range.upperBound)")
    }
    return number
  }

  mutating func flag(_ name: String) throws(ProgramError) -> Bool? {
    guard let text = text(name) else { return nil }
    guard let flag = Bool(text) else { throw ProgramError("\(address): \(name) is '\(text)': give true or false") }
    return flag
  }

  /// A number with `ms`, `s`, `m` or `h` behind it.
  mutating func duration(_ name: String, in range: ClosedRange<Duration>) throws(ProgramError) -> Duration? {
    guard let text = text(name) else { return nil }
    let digits = text.prefix { $0.isASCII && $0.isNumber }
    let units: [String: Int] = ["ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000]
    guard let number = Int(digits), number <= 1_000_000_000, let unit = units[String(text[digits.endIndex...])],
      range.contains(.milliseconds(number * unit))
    else {
      throw ProgramError(
        "\(address): \(name) is '\(text)': give \(range.lowerBound) to \(range.upperBound), such as 500ms, 30s or 2m")
    }
    return .milliseconds(number * unit)
  }

  /// Throws when there is one left.
  func finish() throws(ProgramError) {
    guard let unknown = values.keys.min() else { return }
    throw ProgramError(
      "\(address): there is no parameter '\(unknown)' here; there are \(known.joined(separator: ", ")), and for the connection "
        + "creds, password_file, token_file, tls, tls_ca, tls_cert and tls_key")
  }
}

extension NATSAddress {
  /// Checks the name of a stream or a durable consumer of JetStream.
  static func checkName(_ name: String, _ what: String) throws(ProgramError) {
    let isFit = name.unicodeScalars.allSatisfy { scalar in
      guard scalar.isASCII else { return false }
      return scalar.properties.isAlphabetic || "0123456789_-".unicodeScalars.contains(scalar)
    }
    guard isFit, (1...64).contains(name.utf8.count) else {
      throw ProgramError("'\(name)' is no name of a \(what): give 1 to 64 letters, digits, '_' and '-'")
    }
  }
}
