import Foundation

/// The name of a file of messages: `20261125T070000.123456Z-000001.ndjson`.
///
/// It is when the file was begun, in UTC, and a number that tells those apart that were begun in the same microsecond (or
/// while the clock was set back). With `.gz` at its end it is compressed; while it is written, `.open` follows.
struct FileName: Comparable {
  /// When it was begun, in microseconds since 1970-01-01 UTC.
  let begun: Int64
  let number: Int
  let isCompressed: Bool

  /// The first name after `last`, whatever the clock says.
  init(now: Int64, after last: FileName?, isCompressed: Bool) {
    begun = max(now, last?.begun ?? now)
    number = if let last, last.begun == begun { last.number + 1 } else { 1 }
    self.isCompressed = isCompressed
  }

  /// Reads a name; `nil` for that of any other file, which is left alone.
  init?(_ name: String, isOpen: Bool) {
    let pattern = /(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)\.(\d{6})Z-(\d{6,})\.ndjson(\.gz)?(\.open)?/
    guard let match = name.wholeMatch(of: pattern), (match.10 != nil) == isOpen, let number = Int(match.8)
    else { return nil }
    var time = tm()
    time.tm_year = (Int32(match.1) ?? 0) - 1_900
    time.tm_mon = (Int32(match.2) ?? 0) - 1
    time.tm_mday = Int32(match.3) ?? 0
    time.tm_hour = Int32(match.4) ?? 0
    time.tm_min = Int32(match.5) ?? 0
    time.tm_sec = Int32(match.6) ?? 0
    begun = Int64(timegm(&time)) * 1_000_000 + (Int64(match.7) ?? 0)
    self.number = number
    isCompressed = match.9 != nil
    // There is no thirteenth month.
    guard (isOpen ? open : finished) == name else { return nil }
  }

  /// The name of a file that is whole.
  var finished: String {
    var seconds = time_t(begun / 1_000_000)
    var time = tm()
    gmtime_r(&seconds, &time)
    let text = String(
      format: "%04d%02d%02dT%02d%02d%02d.%06dZ-%06d.ndjson", Int(time.tm_year) + 1_900, Int(time.tm_mon) + 1,
      Int(time.tm_mday), Int(time.tm_hour), Int(time.tm_min), Int(time.tm_sec), Int(begun % 1_000_000), number)
    return text + (isCompressed ? ".gz" : "")
  }

  /// The name of a file that is written to.
  var open: String { finished + ".open" }

  /// By their time and number, as the names sort.
  static func < (left: FileName, right: FileName) -> Bool {
    (left.begun, left.number) < (right.begun, right.number)
  }
}
