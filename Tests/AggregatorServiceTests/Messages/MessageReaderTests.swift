import AggregatorStorage
import AggregatorTestSupport
import Testing

@testable import AggregatorService

@Suite("Messages in a body")
struct MessageReaderTests {
  private func bodies(_ text: String, _ format: MessageFormat) throws -> [String] {
    try Message.all(in: Array(text.utf8), format: format).map(\.body)
  }

  private func error(_ text: String, _ format: MessageFormat) -> MessageSyntaxError? {
    do throws(MessageSyntaxError) {
      _ = try Message.all(in: Array(text.utf8), format: format)
      return nil
    } catch {
      return error
    }
  }

  @Test func `a value is one message, to the letter`() throws {
    for text in ["1", #"{"b":1,  "a":2}"#, #""x""#, "null", "123456789012345678901234567890", "1.50", #""é\u00e9""#] {
      #expect(try bodies(" \n\(text)\r\n", .json) == [text])
    }
  }

  @Test func `the elements of an array are the messages`() throws {
    #expect(try bodies(#" [ 1 , {"a" : [1, 2]} ,"x",[ ] ] "#, .json) == ["1", #"{"a" : [1, 2]}"#, #""x""#, "[ ]"])
    #expect(try bodies("[]", .json) == [])
    #expect(try bodies(" [ \n ] ", .json) == [])
  }

  @Test func `a line is a message, blank ones are passed over`() throws {
    #expect(
      try bodies("1\n{\"a\":2}\r\n\n  \t\r\n \"x\" \n[3]", .newlineDelimited) == ["1", "{\"a\":2}", "\"x\"", "[3]"])
    #expect(try bodies("1\n", .newlineDelimited) == ["1"])
    #expect(try bodies("\n\n", .newlineDelimited) == [])
  }

  @Test(
    arguments: [
      ("", .json, 1, 1, "the body is empty"),
      (" \n", .json, 2, 1, "the body is empty"),
      ("{\"a\":}", .json, 1, 6, "expected a value, found '}'"),
      ("[1,\n 2,\n 3,]", .json, 3, 4, "expected a value, found ']'"),
      ("[1 2]", .json, 1, 4, "expected ',' or ']' behind the element, found '2'"),
      ("[[1 2]]", .json, 1, 5, "expected ',' or ']' behind the element, found '2'"),
      ("{\"é😀\":x}", .json, 1, 7, "expected a value, found 'x'"),
      ("{a:1}", .json, 1, 2, "expected a key in double quotes, found 'a'"),
      (
        "1 2", .json, 1, 3,
        "expected nothing behind the value (several values: an array, or application/x-ndjson), found '2'"
      ),
      ("[1", .json, 1, 3, "expected ',' or ']' behind the element, found the end"),
      ("\"abc", .json, 1, 1, "a string that begins here does not end"),
      ("\u{FEFF}{}", .json, 1, 1, "expected a value, found a byte order mark; leave it out"),
      ("\"é\u{1}\"", .json, 1, 3, "a control character in a string; write it as an escape, such as \\n or \\u0000"),
      ("[\"a\",\r\n \"\\x\"]", .json, 2, 3, "there is no such escape; write a backslash as \\\\"),
      ("\"ab\\u12\"", .json, 1, 4, "\\u must be followed by four hexadecimal digits"),
      ("- 1", .json, 1, 2, "expected a digit, found a space"),
      (
        "[1, nul]", .json, 1, 5,
        "expected a value (of the words only true, false and null, in lower case), found 'n'"
      ),
      ("1\r\n{\"a\":\r\n", .newlineDelimited, 2, 6, "expected a value, found the end"),
      ("1\r\n\"abc\r\n2\r\n", .newlineDelimited, 2, 1, "a string that begins here does not end"),
      ("\u{FEFF}1\n", .newlineDelimited, 1, 1, "expected a value, found a byte order mark; leave it out"),
      ("1\n2\n{\"a\" 1}\n", .newlineDelimited, 3, 6, "expected ':' behind the key, found '1'"),
      ("1\n{\"a\":\n1}\n", .newlineDelimited, 2, 6, "expected a value, found the end"),
      ("1 2\n", .newlineDelimited, 1, 3, "expected the end of the line behind the value, found '2'"),
      ("\n\n  01\n", .newlineDelimited, 3, 4, "a number must not begin with 0 and another digit"),
    ] as [(String, MessageFormat, Int, Int, String)])
  func `an error says where and what`(
    text: String, format: MessageFormat, line: Int, column: Int, reason: String
  ) {
    #expect(error(text, format) == MessageSyntaxError(line: line, column: column, reason: reason))
  }

  @Test func `bytes that are not UTF-8, and nesting too deep, are shown where they begin`() {
    func error(_ bytes: [UInt8]) -> MessageSyntaxError? {
      do throws(MessageSyntaxError) {
        _ = try Message.all(in: bytes, format: .newlineDelimited)
        return nil
      } catch {
        return error
      }
    }
    // A whole é, then the first two bytes of a euro sign.
    let torn = Array("1\n\"é".utf8) + [0xE2, 0x82] + Array("\"\n".utf8)
    #expect(error(torn) == MessageSyntaxError(line: 2, column: 3, reason: "the text is not UTF-8"))
    #expect(
      error(Array(repeating: UInt8(ascii: "["), count: 600))
        == MessageSyntaxError(line: 1, column: 513, reason: "arrays and objects nest deeper than 512"))
  }
}
