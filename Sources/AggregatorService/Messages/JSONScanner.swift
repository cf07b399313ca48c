/// Finds out whether bytes are JSON (RFC 8259), and where a value ends, without making anything of it.
///
/// Why not a parser from a library: messages are stored as the bytes that the client sent, so that numbers of any size and
/// the order of keys survive; a parser would have to print them again. And a client is told line and column.
///
/// A `\u` escape may stand for half a surrogate pair, as the grammar of RFC 8259 has it; text must be valid UTF-8.
struct JSONScanner {
  /// How deep arrays and objects may nest; `objects` has a bit for each level.
  static let deepest = 512

  struct Failure: Error {
    let offset: Int
    let reason: String
  }

  let bytes: UnsafeBufferPointer<UInt8>
  private(set) var offset: Int
  private let end: Int
  /// How many containers are around the offset.
  private var depth = 0
  /// A bit for each of them: whether it is an object.
  ///
  /// It lies in the scanner, so that a line costs no allocation.
  private var objects = InlineArray<8, UInt64>(repeating: 0)

  /// Scans the bytes of a range; offsets count from the start of all bytes.
  init(_ bytes: UnsafeBufferPointer<UInt8>, range: Range<Int>) {
    self.bytes = bytes
    offset = range.lowerBound
    end = range.upperBound
  }

  var isAtEnd: Bool { offset == end }

  mutating func skipWhiteSpace() {
    while offset < end, Self.isWhiteSpace(bytes[offset]) { offset += 1 }
  }

  static func isWhiteSpace(_ byte: UInt8) -> Bool {
    byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09
  }

  /// Passes a byte if it is the next one.
  mutating func pass(_ byte: UInt8) -> Bool {
    guard offset < end, bytes[offset] == byte else { return false }
    offset += 1
    return true
  }

  /// Passes one value, which begins at the offset.
  mutating func passValue() throws(Failure) {
    let outside = depth
    repeat {
      // A value begins here.
      guard offset < end else { throw failure("a value") }
      switch bytes[offset] {
      case UInt8(ascii: "{"):
        try open(object: true)
        if pass(UInt8(ascii: "}")) { depth -= 1 } else { try passKey(); continue }
      case UInt8(ascii: "["):
        try open(object: false)
        if pass(UInt8(ascii: "]")) { depth -= 1 } else { continue }
      case UInt8(ascii: "\""): try passString()
      case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): try passNumber()
      case UInt8(ascii: "t"): try passLiteral("true")
      case UInt8(ascii: "f"): try passLiteral("false")
      case UInt8(ascii: "n"): try passLiteral("null")
      default: throw failure("a value")
      }
      // A value has ended, and with it perhaps containers.
      try leaveContainers(downTo: outside)
    } while depth > outside
  }

  private mutating func open(object: Bool) throws(Failure) {
    guard depth < Self.deepest else {
      throw Failure(offset: offset, reason: "arrays and objects nest deeper than \(Self.deepest)")
    }
    let bit: UInt64 = 1 << UInt64(depth & 63)
    if object { objects[depth >> 6] |= bit } else { objects[depth >> 6] &= ~bit }
    depth += 1
    offset += 1
    skipWhiteSpace()
  }

  /// Behind a value: passes closing brackets, up to the next value that is due or the end of the outermost container.
  private mutating func leaveContainers(downTo outside: Int) throws(Failure) {
    while depth > outside {
      let inObject = objects[(depth - 1) >> 6] >> UInt64((depth - 1) & 63) & 1 == 1
      skipWhiteSpace()
      if pass(UInt8(ascii: ",")) {
        skipWhiteSpace()
        if inObject { try passKey() }
        return
      }
      guard pass(inObject ? UInt8(ascii: "}") : UInt8(ascii: "]")) else {
        throw failure(inObject ? "',' or '}' behind the value" : "',' or ']' behind the element")
      }
      depth -= 1
    }
  }

  private mutating func passKey() throws(Failure) {
    guard offset < end, bytes[offset] == UInt8(ascii: "\"") else { throw failure("a key in double quotes") }
    try passString()
    skipWhiteSpace()
    guard pass(UInt8(ascii: ":")) else { throw failure("':' behind the key") }
    skipWhiteSpace()
  }

  private mutating func passLiteral(_ literal: StaticString) throws(Failure) {
    let start = offset
    let matches = literal.withUTF8Buffer { expected in
      end - start >= expected.count && expected.indices.allSatisfy { bytes[start + $0] == expected[$0] }
    }
    guard matches else { throw failure("a value (of the words only true, false and null, in lower case)") }
    offset += literal.utf8CodeUnitCount
  }

  // MARK: Numbers

  private mutating func passNumber() throws(Failure) {
    _ = pass(UInt8(ascii: "-"))
    if pass(UInt8(ascii: "0")) {
      if offset < end, Self.isDigit(bytes[offset]) {
        throw Failure(offset: offset, reason: "a number must not begin with 0 and another digit")
      }
    } else {
      try passDigits()
    }
    if pass(UInt8(ascii: ".")) { try passDigits() }
    if pass(UInt8(ascii: "e")) || pass(UInt8(ascii: "E")) {
      if !pass(UInt8(ascii: "+")) { _ = pass(UInt8(ascii: "-")) }
      try passDigits()
    }
  }

  private mutating func passDigits() throws(Failure) {
    let start = offset
    while offset < end, Self.isDigit(bytes[offset]) { offset += 1 }
    if offset == start { throw failure("a digit") }
  }

  private static func isDigit(_ byte: UInt8) -> Bool {
    byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9")
  }

  // MARK: Strings

  private mutating func passString() throws(Failure) {
    let start = offset
    offset += 1
    while offset < end {
      let byte = bytes[offset]
      if byte == UInt8(ascii: "\"") {
        offset += 1
        return
      } else if byte == UInt8(ascii: "\\") {
        try passEscape()
      } else if byte < 0x20 {
        throw Failure(
          offset: offset, reason: "a control character in a string; write it as an escape, such as \\n or \\u0000")
      } else if byte < 0x80 {
        offset += 1
      } else {
        try passMultibyte(byte)
      }
    }
    throw Failure(offset: start, reason: "a string that begins here does not end")
  }

  private mutating func passEscape() throws(Failure) {
    let start = offset
    offset += 1
    guard offset < end else { return }  // The string does not end, which is what its reader is told.
    switch bytes[offset] {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"), UInt8(ascii: "b"), UInt8(ascii: "f"),
      UInt8(ascii: "n"), UInt8(ascii: "r"), UInt8(ascii: "t"):
      offset += 1
    case UInt8(ascii: "u"):
      offset += 1
      for _ in 0..<4 {
        guard offset < end, Self.isHexDigit(bytes[offset]) else {
          throw Failure(offset: start, reason: "\\u must be followed by four hexadecimal digits")
        }
        offset += 1
      }
    default:
      throw Failure(offset: start, reason: "there is no such escape; write a backslash as \\\\")
    }
  }

  private static func isHexDigit(_ byte: UInt8) -> Bool {
    isDigit(byte) || (byte | 0x20 >= UInt8(ascii: "a") && byte | 0x20 <= UInt8(ascii: "f"))
  }

  /// Passes one character of two to four bytes: the table of well-formed sequences of the Unicode Standard (3-7).
  private mutating func passMultibyte(_ lead: UInt8) throws(Failure) {
    let count: Int
    var second: ClosedRange<UInt8> = 0x80...0xBF
    switch lead {
    case 0xC2...0xDF: count = 2
    case 0xE0: (count, second) = (3, 0xA0...0xBF)
    case 0xE1...0xEC, 0xEE...0xEF: count = 3
    case 0xED: (count, second) = (3, 0x80...0x9F)
    case 0xF0: (count, second) = (4, 0x90...0xBF)
    case 0xF1...0xF3: count = 4
    case 0xF4: (count, second) = (4, 0x80...0x8F)
    default: throw Failure(offset: offset, reason: "the text is not UTF-8")
    }
    guard end - offset >= count, second.contains(bytes[offset + 1]),
      (2..<count).allSatisfy({ bytes[offset + $0] & 0xC0 == 0x80 })
    else { throw Failure(offset: offset, reason: "the text is not UTF-8") }
    offset += count
  }

  // MARK: Failures

  /// Something else than what was expected is at the offset.
  func failure(_ expected: String) -> Failure {
    guard offset < end else { return Failure(offset: offset, reason: "expected \(expected), found the end") }
    if bytes[offset] == 0xEF, end - offset >= 3, bytes[offset + 1] == 0xBB, bytes[offset + 2] == 0xBF {
      return Failure(offset: offset, reason: "expected \(expected), found a byte order mark; leave it out")
    }
    let byte = bytes[offset]
    let found =
      switch byte {
      case 0x0A, 0x0D: "the end of the line"
      case 0x20: "a space"
      case 0x09: "a tab"
      case 0x21...0x7E: "'\(Character(Unicode.Scalar(byte)))'"
      default: "the byte 0x\(byte < 16 ? "0" : "")\(String(byte, radix: 16, uppercase: true))"
      }
    return Failure(offset: offset, reason: "expected \(expected), found \(found)")
  }
}
