import Foundation

/// `Retry-After` (RFC 9110, 10.2.3): seconds, or a date in one of HTTP's three forms.
enum RetryAfter {
  /// Longer is not believed.
  static let longest = Duration.seconds(86_400)

  /// How long to wait.
  ///
  /// - Parameters:
  ///   - value: The field.
  ///   - date: The answer's own `Date`, by which a date is counted where there is one: clocks differ.
  ///   - now: The time here.
  /// - Returns: From zero to ``longest``; `nil` for what is neither.
  static func wait(_ value: String, date: String?, now: Date = Date()) -> Duration? {
    let value = value.trimmingCharacters(in: .whitespaces)
    if !value.isEmpty, value.utf8.allSatisfy({ (0x30...0x39).contains($0) }) {
      return min(Int(value).map { .seconds($0) } ?? longest, longest)
    }
    guard let then = time(value) else { return nil }
    let seconds = then.timeIntervalSince(date.flatMap(time) ?? now)
    return min(max(.seconds(seconds), .zero), longest)
  }

  private static func time(_ text: String) -> Date? {
    // Made anew: a formatter may not be shared, and this is rare.
    let formatter = DateFormatter()
    formatter.locale = Locale(identifier: "en_US_POSIX")
    formatter.timeZone = TimeZone(secondsFromGMT: 0)
    for format in ["EEE, dd MMM yyyy HH:mm:ss 'GMT'", "EEEE, dd-MMM-yy HH:mm:ss 'GMT'", "EEE MMM d HH:mm:ss yyyy"] {
      formatter.dateFormat = format
      if let date = formatter.date(from: text) { return date }
    }
    return nil
  }
}
