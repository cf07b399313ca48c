package import AggregatorStorage
import Crypto
import Foundation

/// The tokens that may send, by their digests.
///
/// A line for each: `NAME SHA256-HEX [stream,stream…]`; what begins with `#` is a comment.
package struct Tokens: Sendable {
  private struct Entry: Sendable {
    let name: String
    let digest: Data
    /// `nil` for all.
    let streams: Set<StreamName>?
  }

  private let entries: [Entry]

  /// The most tokens in a file: each request's is compared with every one of them.
  package static let most = 1_000
  /// The longest token that is looked at, in bytes.
  static let longest = 512

  /// The tokens' names, in the order of the file.
  package var names: [String] { entries.map(\.name) }

  // MARK: Reading

  /// Reads a file, which blocks.
  ///
  /// - Throws: ``ProgramError`` that says what is wrong and in which line.
  package init(path: String) throws(ProgramError) {
    let data: Data
    do {
      data = try Data(contentsOf: URL(fileURLWithPath: path))
    } catch {
      let isThere = FileManager.default.fileExists(atPath: path)
      throw ProgramError(
        isThere
          ? "the file of tokens '\(path)' cannot be read: it has to be a file that this user may read"
          : "there is no file of tokens '\(path)'")
    }
    guard let text = String(validating: data, as: UTF8.self) else {
      throw ProgramError("the file of tokens '\(path)' is not UTF-8")
    }
    do {
      try self.init(text: text)
    } catch {
      throw ProgramError("the file of tokens '\(path)', \(error)")
    }
  }

  /// Reads the text of a file.
  package init(text: String) throws(ProgramError) {
    var entries: [Entry] = []
    var names: [String: Int] = [:]
    var digests: [Data: Int] = [:]
    for (index, line) in text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline).enumerated() {
      let number = index + 1
      let words = line.split(whereSeparator: { $0 == " " || $0 == "\t" })
      guard let first = words.first, !first.hasPrefix("#") else { continue }
      let entry: Entry
      do { entry = try Self.entry(words) } catch { throw ProgramError("line \(number): \(error)") }
      if let other = names.updateValue(number, forKey: entry.name) {
        throw ProgramError("line \(number): the name '\(entry.name)' is that of line \(other) too: give it another")
      }
      if let other = digests.updateValue(number, forKey: entry.digest) {
        throw ProgramError("line \(number): the digest is that of line \(other) too: leave one of them out")
      }
      entries.append(entry)
    }
    guard !entries.isEmpty else {
      throw ProgramError("there is no token in it: make one with `aggregator token NAME`")
    }
    guard entries.count <= Self.most else {
      throw ProgramError("there are \(entries.count) tokens in it: at most \(Self.most) can be")
    }
    self.entries = entries
  }

  private static func entry(_ words: [Substring]) throws(ProgramError) -> Entry {
    guard (2...3).contains(words.count) else {
      // The words are not quoted: one who mistakes the format may have put the token itself there.
      throw ProgramError("it has \(words.count) words: give NAME SHA256-HEX, and streams with commas and no spaces")
    }
    let name = try tokenName(words[0])
    guard let digest = digest(words[1]) else {
      throw ProgramError(
        "the second word is no SHA-256 in hexadecimal (64 digits): make it with `aggregator token \(name)`")
    }
    guard words.count == 3 else { return Entry(name: name, digest: digest, streams: nil) }
    return Entry(name: name, digest: digest, streams: try streams(words[2]))
  }

  /// Checks a token's name, which is seen in logs.
  package static func tokenName(_ text: some StringProtocol) throws(ProgramError) -> String {
    let isFit = text.utf8.allSatisfy { byte in
      (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte) || (0x61...0x7A).contains(byte) || byte == 0x2D
        || byte == 0x2E || byte == 0x5F
    }
    guard isFit, (1...64).contains(text.utf8.count) else {
      throw ProgramError("'\(text.prefix(64))' is no name of a token: give 1 to 64 letters, digits, '.', '_' and '-'")
    }
    return String(text)
  }

  /// Reads the streams that a token is for: names with commas between them.
  package static func streams(_ text: some StringProtocol) throws(ProgramError) -> Set<StreamName> {
    var streams: Set<StreamName> = []
    for part in text.split(separator: ",", omittingEmptySubsequences: false) {
      let stream = try StreamName(part)
      guard streams.insert(stream).inserted else { throw ProgramError("the stream '\(stream)' is named twice") }
    }
    return streams
  }

  private static func digest(_ hexadecimal: Substring) -> Data? {
    guard hexadecimal.utf8.count == 64 else { return nil }
    var bytes = Data()
    var high: UInt8?
    for character in hexadecimal {
      guard character.isASCII, let value = character.hexDigitValue.map(UInt8.init) else { return nil }
      if let half = high {
        bytes.append(half << 4 | value)
        high = nil
      } else {
        high = value
      }
    }
    return bytes
  }

  // MARK: Asking

  /// What a request with this `Authorization` field may do.
  ///
  /// The token's digest is compared with all entries, each in constant time, so that the time tells nothing of them.
  package func authorize(_ field: String?, for stream: StreamName) -> Authorization {
    guard let field, let token = Self.bearer(field) else { return .unknown }
    let digest = SHA256.hash(data: Data(token.utf8))
    var found: Entry?
    // `==` of a digest takes the same time wherever they differ.
    for entry in entries where digest == entry.digest { found = entry }
    guard let found else { return .unknown }
    guard let streams = found.streams, !streams.contains(stream) else { return .allowed(name: found.name) }
    return .forbidden
  }

  /// The token of `Bearer TOKEN`; the scheme's case does not matter (RFC 9110).
  private static func bearer(_ field: String) -> Substring? {
    guard field.utf8.count <= longest + 16 else { return nil }
    let parts = field.split(separator: " ", maxSplits: 1)
    guard parts.count == 2, parts[0].lowercased() == "bearer" else { return nil }
    let token = parts[1].drop { $0 == " " }
    guard !token.isEmpty, !token.contains(" ") else { return nil }
    return token
  }
}

/// A token that has just been made.
package struct NewToken: Sendable {
  /// What the client sends; it is kept nowhere.
  package let secret: String
  /// The line for the file of tokens.
  package let line: String

  /// Makes a token of 256 random bits, for these streams, or for all.
  package init(name: String, streams: Set<StreamName>? = nil) throws(ProgramError) {
    let name = try Tokens.tokenName(name)
    let random = SymmetricKey(size: .bits256).withUnsafeBytes { Data($0) }
    // A prefix, so that people and scanners for leaked secrets know what it is; the rest is base64url.
    secret =
      "agg_"
      + random.base64EncodedString().replacing("+", with: "-").replacing("/", with: "_").replacing("=", with: "")
    let digest = SHA256.hash(data: Data(secret.utf8)).map { byte in
      String(byte >> 4, radix: 16) + String(byte & 15, radix: 16)
    }
    let names = streams.map { " " + $0.sorted().map(\.description).joined(separator: ",") } ?? ""
    line = "\(name) \(digest.joined())\(names)"
  }
}
