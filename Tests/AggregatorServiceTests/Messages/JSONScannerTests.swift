import AggregatorStorage
import AggregatorTestSupport
import Foundation
import Testing

@testable import AggregatorService

/// Whether all of the bytes are one JSON value, with white space around it.
private func isJSON(_ bytes: [UInt8]) -> Bool {
  bytes.withUnsafeBufferPointer { buffer in
    var scanner = JSONScanner(buffer, range: 0..<buffer.count)
    scanner.skipWhiteSpace()
    do {
      try scanner.passValue()
    } catch {
      return false
    }
    scanner.skipWhiteSpace()
    return scanner.isAtEnd
  }
}

@Suite("JSON scanner")
struct JSONScannerTests {
  @Test(arguments: [
    "null", "true", "false", "0", "-0", "-1", "10", "1.5", "-0.0", "1e9", "1E+9", "1e-9", "0e0", "0.1e1",
    "123456789012345678901234567890.123456789012345678901234567890e400", #""""#, #""a""#, #""\"\\\/\b\f\n\r\t""#,
    #""\u0000\uD83D\uDE00\ud800""#, "\"\u{7F}é€😀\u{10FFFF}\"", "[]", "{}", "[1]", "[1,2]", " [ 1 , 2 ] ", "[[],{}]",
    #""\udc00\ud800""#, #""\uABCDef""#, "\"\u{2028}\u{FFFF}\"", "1e400", "-0e-0", "[[[]],[{}],{\"a\":{}}]",
    #"{"":0}"#, #"{"a":1,"a":2}"#, #"{ "a" : [ { "b" : null } ] }"#, "\t\n\r 1 \t\n\r",
  ])
  func `these are JSON`(text: String) {
    #expect(isJSON(Array(text.utf8)))
  }

  @Test(arguments: [
    "", " ", "nul", "nulll", "True", "undefined", "NaN", "Infinity", "+1", "01", "-", "-01", "1.", ".5", "1.e1", "1e",
    "1e+", "0x1", "1 2", "1,", ",1", "'a'", "a", #"""#, #""a"#, #""\""#, #""\x""#, #""\u12""#, #""\u12G4""#, #""\"#,
    "\"\n\"", "\"\t\"", "\"\u{0}\"", "[", "]", "[1", "[1,", "[1,]", "[,1]", "[1 2]", "[1}", "{", "}", "{1:1}", "{a:1}",
    #"{"a"}"#, #"{"a":}"#, #"{"a":1,}"#, #"{"a":1"#, #"{"a" 1}"#, #"{,}"#, #"{"a":1]"#, "[]]", "{}}", "// c\n1",
    "/**/1", "\u{FEFF}1", "1\u{0}", "\u{A0}1", "\u{C}1", "\u{2028}1", "--1", "1.2.3", "1eE2", "1e1.0", "-a", "tru",
    "nulL",
    "[,]", "[1,,2]", "[1;2]", #"{"a":1,,"b":2}"#, #"{"a"::1}"#, #"{"a":1 "b":2}"#, #"{"a":1;"b":2}"#, #"{"a",1}"#,
    #"["a"#, #"{"a"#, #"{"a":"#, #"{"a":1,"#, #"{null:1}"#, "[{]}", "[[]", "{[}", #""\U0041""#, #""\u""#, #""\u 041""#,
    #""a"b"#, "\"\u{1F}\"", "\"a\r\"",
  ])
  func `these are not JSON`(text: String) {
    #expect(!isJSON(Array(text.utf8)))
  }

  @Test(
    arguments: [
      [0x80], [0xBF], [0xC0, 0x80], [0xC1, 0xBF], [0xC3], [0xE0, 0x80, 0x80], [0xE0, 0x9F, 0xBF], [0xE2, 0x82],
      [0xED, 0xA0, 0x80], [0xED, 0xBF, 0xBF], [0xF0, 0x80, 0x80, 0x80], [0xF0, 0x8F, 0xBF, 0xBF], [0xF0, 0x9F, 0x98],
      [0xF4, 0x90, 0x80, 0x80], [0xF5, 0x80, 0x80, 0x80], [0xFF], [0xFE], [0xE2, 0x28, 0xA1], [0xF0, 0x28, 0x8C, 0xBC],
    ] as [[UInt8]])
  func `text that is not UTF-8 is refused`(bytes: [UInt8]) {
    #expect(!isJSON([0x22] + bytes + [0x22]))
  }

  @Test func `nesting is as deep as it may be and no deeper`() {
    for (open, close) in [("[", "]"), (#"{"a":"#, "}")] {
      func nested(_ depth: Int) -> [UInt8] {
        Array((String(repeating: open, count: depth) + "1" + String(repeating: close, count: depth)).utf8)
      }
      #expect(isJSON(nested(JSONScanner.deepest)))
      #expect(!isJSON(nested(JSONScanner.deepest + 1)))
      #expect(!isJSON(Array(String(repeating: open, count: 1_000_000).utf8)))
    }
  }

  @Test func `what surrounds a value is told from objects and arrays at every depth`() {
    // 64 is where the bits of one word end.
    for depth in [1, 2, 63, 64, 65, 127, 128, 129, 511, 512] {
      for flipped in [0, depth / 2, depth - 1] {
        func nested(closing wrong: Int?) -> [UInt8] {
          let objects = (0..<depth).map { ($0 % 3 == 0) != ($0 == flipped) }
          let open = objects.map { $0 ? #"{"a":"# : "[" }.joined()
          let close = objects.indices.reversed().map { (objects[$0] != ($0 == wrong)) ? "}" : "]" }.joined()
          return Array((open + "0" + close).utf8)
        }
        #expect(isJSON(nested(closing: nil)))
        #expect(!isJSON(nested(closing: flipped)))
      }
    }
  }

  @Test(arguments: 0..<10)
  func `messages are exact slices of what was sent`(seed: UInt64) throws {
    var random = Splitmix(state: seed)
    for round in 0..<50 {
      let sent = (0..<Int.random(in: 0...5, using: &random)).map { _ in
        document(&random, depth: 3).trimmingCharacters(in: .whitespacesAndNewlines)
      }
      let array = Array((" [ " + sent.joined(separator: " ,\n") + "]\n").utf8)
      #expect(try Message.all(in: array, format: .json).map(\.body) == sent, "seed \(seed), round \(round)")
      let lines = sent.map { $0.replacing("\n", with: " ") }
      let body = Array(lines.joined(separator: " \r\n\n").utf8)
      #expect(try Message.all(in: body, format: .newlineDelimited).map(\.body) == lines, "seed \(seed), round \(round)")
    }
  }

  /// Foundation is the other opinion, on documents of our grammar and on what is left of them after a few bytes were
  /// changed.
  ///
  /// Left out is where it is known to judge otherwise: it takes a comma behind the last element, a byte order mark,
  /// and text in UTF-16 and UTF-32, which it guesses from zero bytes; it refuses half a surrogate pair and numbers
  /// beyond a double.
  @Test(arguments: 0..<20)
  func `it agrees with Foundation`(seed: UInt64) {
    var random = Splitmix(state: seed)
    for round in 0..<200 {
      var bytes = Array(document(&random, depth: 4).utf8)
      for _ in 0..<Int.random(in: 0...2, using: &random) where !bytes.isEmpty {
        let position = bytes.indices.randomElement(using: &random) ?? 0
        switch Int.random(in: 0..<3, using: &random) {
        case 0: bytes.remove(at: position)
        case 1: bytes[position] = Array("\"\\{}[]:,0e.- tnux\u{1}é".utf8).randomElement(using: &random) ?? 0
        default: bytes.insert(bytes[position], at: position)
        }
      }
      let text = String(decoding: bytes, as: UTF8.self)
      if text.contains(/,\s*[\]}]/) { continue }
      let theirs = (try? JSONSerialization.jsonObject(with: Data(bytes), options: .fragmentsAllowed)) != nil
      #expect(isJSON(bytes) == theirs, "seed \(seed), round \(round): \(text)")
    }
  }

  private func document(_ random: inout Splitmix, depth: Int) -> String {
    let space = ["", "", " ", "\n"].randomElement(using: &random) ?? ""
    switch Int.random(in: 0..<(depth > 0 ? 8 : 6), using: &random) {
    case 0: return "null" + space
    case 1: return ["true", "false"].randomElement(using: &random) ?? ""
    case 2: return "\(Int.random(in: -1_000...1_000, using: &random))"
    case 3: return "\(Int.random(in: 0...9, using: &random)).\(Int.random(in: 0...99, using: &random))e-3"
    case 4: return [#""a b""#, #""\n\"""#, #""é€😀""#, #""\u00e9""#, #""""#].randomElement(using: &random) ?? ""
    case 5: return "0"
    case 6:
      let elements = (0..<Int.random(in: 0...3, using: &random)).map { _ in document(&random, depth: depth - 1) }
      return space + "[" + space + elements.joined(separator: "," + space) + "]" + space
    default:
      let members = (0..<Int.random(in: 0...3, using: &random)).map { key in
        "\"k\(key)\"" + space + ":" + space + document(&random, depth: depth - 1)
      }
      return "{" + space + members.joined(separator: ",") + "}"
    }
  }
}

/// Sebastiano Vigna's SplitMix64, so that a seed gives the same documents everywhere.
struct Splitmix: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}
