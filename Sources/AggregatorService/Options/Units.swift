package import AggregatorStorage

/// Numbers with units, as people write them on a command line.
package enum Units {
  /// Reads a time: a number and `us`, `ms`, `s`, `m` or `h`; a bare `0` needs no unit.
  package static func duration(_ text: String) throws(ProgramError) -> Duration {
    if text == "0" { return .zero }
    let (number, unit) = split(text)
    let units: [Substring: Duration] = [
      "us": .microseconds(1), "µs": .microseconds(1), "ms": .milliseconds(1), "s": .seconds(1), "m": .seconds(60),
      "h": .seconds(3_600),
    ]
    guard let value = Double(number), value.isFinite, value >= 0 else {
      throw ProgramError("'\(text)' is no time: give a number and its unit, such as 10ms, 1.5s, 500us, 2m or 1h")
    }
    guard let one = units[unit] else {
      throw ProgramError(
        unit.isEmpty
          ? "'\(text)' has no unit: give \(text)ms for milliseconds or \(text)s for seconds"
          : "'\(unit)' in '\(text)' is no unit of time: give us, ms, s, m or h")
    }
    guard value * (one / .seconds(1)) <= 3_155_760_000 else {
      throw ProgramError("'\(text)' is more than a hundred years: give less")
    }
    return one * value
  }

  /// Reads a size in bytes: a number, and `KiB`, `MiB`, `GiB` or `TiB` (or `K`, `M`, `G`, `T`) for powers of 1,024.
  package static func bytes(_ text: String, in range: ClosedRange<Int> = 1...(16 << 30)) throws(ProgramError) -> Int {
    let (number, unit) = split(text)
    let units: [String: Int] = [
      "": 1, "b": 1, "k": 1 << 10, "kib": 1 << 10, "m": 1 << 20, "mib": 1 << 20, "g": 1 << 30, "gib": 1 << 30,
      "t": 1 << 40, "tib": 1 << 40,
    ]
    guard let value = Int(number), value >= 0, let one = units[unit.lowercased()] else {
      throw ProgramError("'\(text)' is no size: give bytes, or a number with KiB, MiB or GiB, such as 4MiB")
    }
    let (bytes, overflow) = value.multipliedReportingOverflow(by: one)
    guard !overflow, range.contains(bytes) else {
      throw ProgramError("'\(text)' is out of range: give \(show(bytes: range))")
    }
    return bytes
  }

  /// A time as ``duration(_:)`` reads it, in the largest unit in which it is a whole number.
  package static func show(_ time: Duration) -> String {
    let (seconds, attoseconds) = time.components
    let microseconds = seconds * 1_000_000 + attoseconds / 1_000_000_000_000
    if microseconds == 0 { return "0ms" }
    let units: [(Int64, String)] = [(3_600_000_000, "h"), (60_000_000, "m"), (1_000_000, "s"), (1_000, "ms")]
    for (unit, name) in units where microseconds % unit == 0 { return "\(microseconds / unit)\(name)" }
    return "\(microseconds)us"
  }

  /// A size as ``bytes(_:in:)`` reads it, in the largest unit in which it is a whole number.
  package static func show(bytes: Int) -> String {
    for (shift, name) in [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")]
    where bytes != 0 && bytes % (1 << shift) == 0 {
      return "\(bytes >> shift)\(name)"
    }
    return "\(bytes)"
  }

  /// A range of sizes, in words.
  package static func show(bytes range: ClosedRange<Int>) -> String {
    "\(show(bytes: range.lowerBound))\(range.lowerBound == 1 ? " byte" : "") to \(show(bytes: range.upperBound))"
  }

  private static func split(_ text: String) -> (number: Substring, unit: Substring) {
    let end = text.firstIndex { !("0"..."9").contains($0) && $0 != "." && $0 != "-" && $0 != "+" } ?? text.endIndex
    return (text[..<end], text[end...])
  }
}
