import Foundation

extension JSONScanner {
  /// Where the value of the first member with this name is, in the object that begins at the offset.
  ///
  /// - Returns: `nil` when there is none, or when it is no object.
  mutating func valueOfMember(named name: String) throws(Failure) -> Range<Int>? {
    guard pass(UInt8(ascii: "{")) else { return nil }
    skipWhiteSpace()
    if pass(UInt8(ascii: "}")) { return nil }
    repeat {
      skipWhiteSpace()
      let key = offset
      try passValue()
      let isWanted = string(in: key..<offset) == name
      skipWhiteSpace()
      _ = pass(UInt8(ascii: ":"))
      skipWhiteSpace()
      let value = offset
      try passValue()
      if isWanted { return value..<offset }
      skipWhiteSpace()
    } while pass(UInt8(ascii: ","))
    return nil
  }

  /// The text of a string, without its quotes and escapes.
  ///
  /// - Returns: `nil` when there is no string, or one that is no text, such as half a surrogate pair.
  func string(in range: Range<Int>) -> String? {
    guard range.count >= 2, bytes[range.lowerBound] == UInt8(ascii: "\"") else { return nil }
    let inner = bytes[range.lowerBound + 1..<range.upperBound - 1]
    guard inner.contains(UInt8(ascii: "\\")) else { return String(decoding: inner, as: UTF8.self) }
    let text = try? JSONSerialization.jsonObject(with: Data(bytes[range]), options: .fragmentsAllowed)
    return text as? String
  }

  /// What identifies a message by a member: the text of a string, or a number as it is written.
  func identity(in range: Range<Int>) -> String? {
    switch bytes[range.lowerBound] {
    case UInt8(ascii: "\""): string(in: range)
    case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): String(decoding: bytes[range], as: UTF8.self)
    default: nil
    }
  }
}
