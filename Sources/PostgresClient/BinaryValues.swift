/// Rows for `COPY … FROM STDIN (FORMAT binary)`: nothing in them has to be escaped.
package struct CopyRows: ~Copyable {
  private var bytes: [UInt8]
  private let columns: Int16

  /// Begins with no rows.
  ///
  /// - Parameters:
  ///   - columns: How many values each row has.
  ///   - capacity: About how many bytes it will have.
  package init(columns: Int, capacity: Int) {
    self.columns = Int16(columns)
    bytes = []
    bytes.reserveCapacity(capacity + 32)
    bytes += "PGCOPY\n".utf8
    bytes += [0xFF, 0x0D, 0x0A, 0x00]
    bytes.append(integer: Int32(0))  // No flags.
    bytes.append(integer: Int32(0))  // Nothing more in the header.
  }

  /// Begins a row; as many values follow as there are columns.
  package mutating func beginRow() {
    bytes.append(integer: columns)
  }

  /// A `timestamptz`, in microseconds since 1970-01-01 UTC.
  package mutating func append(time: Int64) {
    bytes.appendValue(time: time)
  }

  /// A `text` or a `json`.
  package mutating func append(_ text: String) {
    bytes.appendValue(text)
  }

  /// The whole, with its end.
  package consuming func finish() -> [UInt8] {
    bytes.append(integer: Int16(-1))
    return bytes
  }
}

/// An array of one dimension as the value of a parameter.
package enum PostgresArray {
  private static let timestamptz: Int32 = 1184
  private static let json: Int32 = 114
  private static let text: Int32 = 25

  /// A `timestamptz[]`, in microseconds since 1970-01-01 UTC.
  package static func times(_ times: some Collection<Int64>) -> PostgresParameter {
    var bytes = header(of: timestamptz, count: times.count, capacity: times.count * 12)
    for time in times { bytes.appendValue(time: time) }
    return .binary(bytes)
  }

  /// A `json[]`.
  package static func documents(_ texts: some Collection<String>, bytes: Int) -> PostgresParameter {
    var bytes = header(of: json, count: texts.count, capacity: bytes + texts.count * 4)
    for text in texts { bytes.appendValue(text) }
    return .binary(bytes)
  }

  /// A `text[]`; `nil` is null.
  package static func texts(_ texts: some Collection<String?>) -> PostgresParameter {
    var bytes = header(of: text, count: texts.count, capacity: texts.count * 40)
    for text in texts { bytes.appendValue(text) }
    return .binary(bytes)
  }

  private static func header(of type: Int32, count: Int, capacity: Int) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(capacity + 20)
    bytes.append(integer: Int32(1))  // Dimensions.
    bytes.append(integer: Int32(1))  // There may be nulls.
    bytes.append(integer: type)
    bytes.append(integer: Int32(count))
    bytes.append(integer: Int32(1))  // The first index.
    return bytes
  }
}

extension [UInt8] {
  fileprivate mutating func append(integer: some FixedWidthInteger) {
    Swift.withUnsafeBytes(of: integer.bigEndian) { append(contentsOf: $0) }
  }

  /// A length, and the value.
  fileprivate mutating func appendValue(_ text: String?) {
    guard var text else { return append(integer: Int32(-1)) }
    text.withUTF8 { utf8 in
      append(integer: Int32(utf8.count))
      append(contentsOf: utf8)
    }
  }

  fileprivate mutating func appendValue(time: Int64) {
    append(integer: Int32(8))
    append(integer: time - 946_684_800_000_000)  // The server counts from 2000-01-01.
  }
}
