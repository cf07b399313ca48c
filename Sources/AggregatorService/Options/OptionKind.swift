import AggregatorStorage
import Logging

/// A kind of value: how it is read, shown, and what it may be.
struct OptionKind<Value: Hashable & Sendable>: Sendable {
  /// What stands for the value in help texts; `nil` for what is either on or off.
  let placeholder: String?
  /// What it may be, in words.
  let allowed: String
  /// Reads it; throws a ``ProgramError`` that quotes what it was and says what is allowed.
  let read: @Sendable (String) throws -> Value
  /// As `read` takes it, without what is secret.
  let show: @Sendable (Value) -> String

  /// The same, where `none` stands for its absence.
  var orNone: OptionKind<Value?> {
    OptionKind<Value?>(placeholder: placeholder, allowed: "\(allowed), or none") { [read] text in
      text == "none" ? nil : try read(text)
    } show: { [show] value in
      value.map(show) ?? "none"
    }
  }
}

// MARK: Numbers

extension OptionKind where Value == Int {
  static func count(_ range: ClosedRange<Int>) -> Self {
    let allowed = "\(range.lowerBound) to \(range.upperBound)"
    return Self(placeholder: "COUNT", allowed: allowed) { text in
      guard let number = Int(text), range.contains(number) else {
        throw ProgramError("'\(text)' is no count: give a whole number, \(allowed)")
      }
      return number
    } show: {
      "\($0)"
    }
  }

  static func size(_ range: ClosedRange<Int>) -> Self {
    Self(placeholder: "SIZE", allowed: Units.show(bytes: range)) { text in
      try Units.bytes(text, in: range)
    } show: {
      Units.show(bytes: $0)
    }
  }
}

extension OptionKind where Value == Duration {
  static func time(_ range: ClosedRange<Duration>) -> Self {
    let allowed = "\(Units.show(range.lowerBound)) to \(Units.show(range.upperBound))"
    return Self(placeholder: "TIME", allowed: allowed) { text in
      let time = try Units.duration(text)
      guard range.contains(time) else { throw ProgramError("'\(text)' is out of range: give \(allowed)") }
      return time
    } show: {
      Units.show($0)
    }
  }
}

// MARK: Texts

extension OptionKind where Value == String {
  static var path: Self {
    Self(placeholder: "PATH", allowed: "the path of a file") { text in
      guard !text.isEmpty, !text.contains("\0") else {
        throw ProgramError("'\(text)' is no path: give the path of a file")
      }
      return text
    } show: {
      $0
    }
  }

  static var field: Self {
    Self(placeholder: "FIELD", allowed: "the name of a field, 1 to 200 bytes") { text in
      guard (1...200).contains(text.utf8.count) else {
        throw ProgramError("'\(text.prefix(60))' is no name of a field: give 1 to 200 bytes")
      }
      return text
    } show: {
      $0
    }
  }
}

extension OptionKind where Value == StreamName {
  static var stream: Self {
    Self(
      placeholder: "STREAM",
      allowed: "1 to \(StreamName.longest) lower-case letters, digits, '_' and '-', a letter first"
    ) { text in
      try StreamName(text)
    } show: {
      $0.description
    }
  }
}

extension OptionKind where Value == Bool {
  static var flag: Self {
    Self(placeholder: nil, allowed: "true or false") { text in
      switch text.lowercased() {
      case "true", "yes": true
      case "false", "no": false
      default: throw ProgramError("'\(text)' is neither true nor false: give one of them")
      }
    } show: {
      "\($0)"
    }
  }
}

extension OptionKind where Value: CaseIterable & RawRepresentable<String> {
  /// One of a few words; `name` says what they are.
  static func choice(_ name: String) -> Self {
    let words = Value.allCases.map(\.rawValue)
    let allowed = words.dropLast().joined(separator: ", ") + " or " + (words.last ?? "")
    return Self(placeholder: name.uppercased(), allowed: allowed) { text in
      guard let value = Value(rawValue: text.lowercased()) else {
        throw ProgramError("'\(text)' is no \(name): give \(allowed)")
      }
      return value
    } show: {
      $0.rawValue
    }
  }
}

// MARK: Where from and where to

extension OptionKind where Value == Source {
  static var source: Self {
    Self(placeholder: "SOURCE", allowed: "http://HOST:PORT, https://HOST:PORT or stdin") { text in
      try Source(text)
    } show: {
      $0.description
    }
  }

  /// An address of our own that speaks plain HTTP.
  static var address: Self {
    Self(placeholder: "URL", allowed: "http://HOST:PORT") { text in
      guard case .http(let host, let port) = try Source(text) else {
        throw ProgramError("'\(text)' is no address of plain HTTP: give http://HOST:PORT")
      }
      return .http(host: host, port: port)
    } show: {
      $0.description
    }
  }
}

extension OptionKind where Value == Target {
  static var target: Self {
    Self(placeholder: "TARGET", allowed: Target.kinds) { text in
      try Target(text)
    } show: {
      $0.description
    }
  }
}
