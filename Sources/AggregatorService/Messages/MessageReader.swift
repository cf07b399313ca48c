/// How messages lie in a body.
enum MessageFormat: Sendable {
  /// One JSON value, or an array whose elements are the messages.
  case json
  /// One JSON value a line (NDJSON). Blank lines are passed over; lines may end with CR LF; the last may lack its end.
  case newlineDelimited
}

/// Finds the messages in a body.
enum MessageReader {
  /// The range of each message, without the white space around it.
  static func messages(
    in bytes: UnsafeBufferPointer<UInt8>, format: MessageFormat
  ) throws(MessageSyntaxError) -> [Range<Int>] {
    do {
      switch format {
      case .json: return try document(bytes)
      case .newlineDelimited: return try lines(bytes)
      }
    } catch {
      throw self.error(at: error.offset, in: bytes, reason: error.reason)
    }
  }

  /// What is wrong at an offset.
  static func error(
    at offset: Int, in bytes: UnsafeBufferPointer<UInt8>, reason: String, isTooLarge: Bool = false
  ) -> MessageSyntaxError {
    let (line, column) = position(of: offset, in: bytes)
    return MessageSyntaxError(line: line, column: column, reason: reason, isTooLarge: isTooLarge)
  }

  private static func document(_ bytes: UnsafeBufferPointer<UInt8>) throws(JSONScanner.Failure) -> [Range<Int>] {
    var scanner = JSONScanner(bytes, range: 0..<bytes.count)
    var messages: [Range<Int>] = []
    scanner.skipWhiteSpace()
    if scanner.isAtEnd { throw JSONScanner.Failure(offset: scanner.offset, reason: "the body is empty") }
    if scanner.pass(UInt8(ascii: "[")) {
      scanner.skipWhiteSpace()
      if !scanner.pass(UInt8(ascii: "]")) {
        repeat {
          scanner.skipWhiteSpace()
          messages.append(try value(&scanner))
          scanner.skipWhiteSpace()
        } while scanner.pass(UInt8(ascii: ","))
        guard scanner.pass(UInt8(ascii: "]")) else { throw scanner.failure("',' or ']' behind the element") }
      }
    } else {
      messages.append(try value(&scanner))
    }
    scanner.skipWhiteSpace()
    guard scanner.isAtEnd else {
      throw scanner.failure("nothing behind the value (several values: an array, or application/x-ndjson)")
    }
    return messages
  }

  private static func lines(_ bytes: UnsafeBufferPointer<UInt8>) throws(JSONScanner.Failure) -> [Range<Int>] {
    var messages: [Range<Int>] = []
    var start = 0
    while start < bytes.count {
      let end = bytes[start...].firstIndex(of: 0x0A) ?? bytes.count
      // The CR of a CR LF is no part of the line: errors at its end name the column that an editor shows.
      let isCarriageReturn = end > start && bytes[end - 1] == 0x0D
      var scanner = JSONScanner(bytes, range: start..<(isCarriageReturn ? end - 1 : end))
      scanner.skipWhiteSpace()
      if !scanner.isAtEnd {
        messages.append(try value(&scanner))
        scanner.skipWhiteSpace()
        guard scanner.isAtEnd else { throw scanner.failure("the end of the line behind the value") }
      }
      start = end + 1
    }
    return messages
  }

  private static func value(_ scanner: inout JSONScanner) throws(JSONScanner.Failure) -> Range<Int> {
    let start = scanner.offset
    try scanner.passValue()
    return start..<scanner.offset
  }

  /// Line and column, from 1.
  ///
  /// A column is a code point: bytes that go on with one are not counted.
  private static func position(of offset: Int, in bytes: UnsafeBufferPointer<UInt8>) -> (line: Int, column: Int) {
    var line = 1
    var column = 1
    for byte in bytes[..<min(offset, bytes.count)] {
      if byte == 0x0A {
        line += 1
        column = 1
      } else if byte & 0xC0 != 0x80 {
        column += 1
      }
    }
    return (line, column)
  }
}
