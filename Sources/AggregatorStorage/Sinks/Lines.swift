/// Messages as NDJSON: one a line, to the letter but for line breaks.
enum Lines {
  /// The messages, each with a line feed behind it.
  ///
  /// A line break in JSON stands between values, where it is white space, as in JSON that was printed for the eye; in a
  /// string it cannot be but as `\n`. So a space in its place changes no value.
  static func encode(_ messages: [Message]) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(messages.reduce(0) { $0 + $1.body.utf8.count + 1 })
    for message in messages {
      let start = bytes.count
      bytes.append(contentsOf: message.body.utf8)
      bytes.withUnsafeMutableBufferPointer { bytes in
        // A choice and no branch: many bytes at a time.
        for index in start..<bytes.count {
          let byte = bytes[index]
          bytes[index] = byte == lineFeed || byte == carriageReturn ? space : byte
        }
      }
      bytes.append(lineFeed)
    }
    return bytes
  }

  static let lineFeed: UInt8 = 0x0A
  private static let carriageReturn: UInt8 = 0x0D
  private static let space: UInt8 = 0x20
}
