import AggregatorStorage
import AggregatorTestSupport
import Crypto
import Foundation
import Testing

@testable import AggregatorService

@Suite("Tokens")
struct TokensTests {
  private func digest(_ token: String) -> String {
    SHA256.hash(data: Data(token.utf8)).map { String(format: "%02x", $0) }.joined()
  }

  // MARK: Asking

  @Test func `a token allows all streams, or those that it is for`() throws {
    let tokens = try Tokens(
      text: """
        # comment
        all    \(digest("one"))

        \torders \(digest("two").uppercased())\torders,clicks\r
        """)
    #expect(tokens.names == ["all", "orders"])
    let orders = try StreamName("orders")
    #expect(tokens.authorize("Bearer one", for: .messages) == .allowed(name: "all"))
    #expect(tokens.authorize("Bearer one", for: orders) == .allowed(name: "all"))
    #expect(tokens.authorize("Bearer two", for: orders) == .allowed(name: "orders"))
    #expect(tokens.authorize("bEARER  two", for: orders) == .allowed(name: "orders"))
    #expect(tokens.authorize("Bearer two", for: .messages) == .forbidden)
  }

  @Test func `what is no token of ours is unknown`() throws {
    let tokens = try Tokens(text: "all \(digest("one"))")
    for header in [
      nil, "", "Bearer", "Bearer ", "Bearer  ", "one", "Basic one", "Bearer two", "Bearer One", "Bearer one ",
      "Bearer one x", "Bearer \(digest("one"))", "Bearer on", "Bearer onee", "Bearer\tone",
      "Bearer " + String(repeating: "x", count: 100_000),
    ] {
      #expect(tokens.authorize(header, for: .messages) == .unknown, "\(header?.prefix(20) ?? "none")")
    }
  }

  @Test func `the empty token is none, although its digest is in the file`() throws {
    let tokens = try Tokens(text: "empty \(digest(""))")
    #expect(tokens.authorize("Bearer ", for: .messages) == .unknown)
  }

  @Test func `of many tokens each is found`() throws {
    let lines = (0..<Tokens.most).map { "t\($0) \(digest("secret\($0)"))" }
    let tokens = try Tokens(text: lines.joined(separator: "\n"))
    for number in [0, 1, 500, Tokens.most - 1] {
      #expect(tokens.authorize("Bearer secret\(number)", for: .messages) == .allowed(name: "t\(number)"))
    }
    #expect(tokens.authorize("Bearer secret\(Tokens.most)", for: .messages) == .unknown)
  }

  // MARK: Making

  @Test func `a new token is allowed by its line`() throws {
    let streams: Set = [try StreamName("orders"), try StreamName("clicks")]
    let one = try NewToken(name: "web", streams: streams)
    #expect(one.secret.wholeMatch(of: /agg_[A-Za-z0-9_-]{43}/) != nil)
    #expect(one.line == "web \(digest(one.secret)) clicks,orders")
    let two = try NewToken(name: "all")
    #expect(two.secret != one.secret)
    let tokens = try Tokens(text: "\(one.line)\n\(two.line)\n")
    #expect(tokens.authorize("Bearer \(one.secret)", for: .messages) == .forbidden)
    #expect(tokens.authorize("Bearer \(two.secret)", for: .messages) == .allowed(name: "all"))
    #expect(throws: ProgramError.self) { try NewToken(name: "no good") }
  }

  // MARK: Reading

  @Test func `a malformed line is told with its number`() throws {
    let good = "a \(digest("1"))"
    for (line, words) in [
      ("web", "line 3: it has 1 words: give NAME SHA256-HEX"),
      ("web \(digest("2")) a b", "line 3: it has 4 words"),
      ("w/b \(digest("2"))", "line 3: 'w/b' is no name of a token"),
      ("\(String(repeating: "x", count: 65)) \(digest("2"))", "is no name of a token"),
      ("web \(digest("2").dropLast())", "line 3: the second word is no SHA-256"),
      ("web \(digest("2").dropLast())g", "line 3: the second word is no SHA-256"),
      ("web \(digest("2").dropLast())é", "line 3: the second word is no SHA-256"),
      ("web \(digest("2")) Orders", "line 3: 'Orders' is no name of a stream"),
      ("web \(digest("2")) orders,", "line 3: '' is no name of a stream"),
      ("web \(digest("2")) orders,orders", "line 3: the stream 'orders' is named twice"),
      ("a \(digest("2"))", "line 3: the name 'a' is that of line 2 too"),
      ("b \(digest("1"))", "line 3: the digest is that of line 2 too"),
    ] {
      #expect {
        try Tokens(text: "\n\(good)\n\(line)\n")
      } throws: { error in
        "\(error)".contains(words)
      }
    }
  }

  @Test func `a secret in the place of its digest is not quoted`() {
    for line in ["web agg_hunter2", "agg_hunter2", "web orders agg_hunter2 x"] {
      #expect {
        try Tokens(text: line)
      } throws: { error in
        !"\(error)".contains("hunter2")
      }
    }
  }

  @Test func `no token at all, or too many, is a mistake`() {
    let many = (0...Tokens.most).map { "t\($0) \(digest("\($0)"))" }.joined(separator: "\n")
    for (text, words) in [
      ("", "no token in it"), ("# none\n", "no token in it"), (many, "1001 tokens in it: at most 1000"),
    ] {
      #expect {
        try Tokens(text: text)
      } throws: { error in
        "\(error)".contains(words)
      }
    }
  }

  @Test func `files that cannot be read are told`() throws {
    let folder = try TemporaryFolder()
    let path = folder.file("tokens")
    try Data([0xFF, 0xFE]).write(to: URL(fileURLWithPath: path))
    for (path, words) in [
      (path, "is not UTF-8"), ("/none/tokens", "there is no file of tokens '/none/tokens'"), ("/", "cannot be read"),
    ] {
      #expect {
        try Tokens(path: path)
      } throws: { error in
        "\(error)".contains(words)
      }
    }
  }

  // MARK: The store

  @Test func `reloading swaps the tokens, and an error leaves them`() throws {
    let folder = try TemporaryFolder()
    let path = folder.file("tokens")
    func write(_ text: String) throws { try Data(text.utf8).write(to: URL(fileURLWithPath: path)) }
    try write("one \(digest("1"))")
    let store = try TokenStore(path: path)
    #expect(store.authorize("Bearer 1", for: .messages) == .allowed(name: "one"))
    try write("two \(digest("2"))")
    #expect(store.authorize("Bearer 1", for: .messages) == .allowed(name: "one"))
    try store.reload(path: path)
    #expect(store.authorize("Bearer 1", for: .messages) == .unknown)
    #expect(store.authorize("Bearer 2", for: .messages) == .allowed(name: "two"))
    for broken in ["", "two"] {
      try write(broken)
      #expect(throws: ProgramError.self) { try store.reload(path: path) }
      #expect(store.names == ["two"])
    }
    try store.reload(path: nil)
    #expect(store.authorize(nil, for: .messages) == .allowed(name: nil))
    #expect(throws: ProgramError.self) { try TokenStore(path: path) }
  }
}
