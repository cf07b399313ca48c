import AggregatorStorage
import AggregatorTestSupport
import Testing

@testable import AggregatorService

@Suite("Options")
struct OptionsTests {
  @Test(
    arguments: [
      ("http://127.0.0.1:8080", .http(host: "127.0.0.1", port: 8080)),
      ("http://localhost", .http(host: "localhost", port: 8080)),
      ("http://0.0.0.0:0/", .http(host: "0.0.0.0", port: 0)),
      ("http://[::1]:9000", .http(host: "::1", port: 9000)),
      ("stdin", .standardInput),
      ("-", .standardInput),
    ] as [(String, Source)])
  func `sources`(text: String, source: Source) throws {
    #expect(try Source(text) == source)
    #expect(try Source(source.description) == source)
  }

  @Test(
    arguments: [
      ("", "'' is no source"), ("file", "'file' is no source"), ("ftp://x", "'ftp' is no known kind of source"),
      ("http://", "names no host"), ("http://:80", "names no host"), ("http://a:b", "'b' in"),
      ("http://a:70000", "'70000' in"), ("http://a:-1", "'-1' in"), ("http://a/path", "more than where to listen"),
      ("http://::1:80", "several colons"), ("http://[::1", "'[' without ']'"), ("http://[::1]x", "'x' behind"),
    ])
  func `wrong sources are refused in words`(text: String, words: String) {
    expectRefusal(words) { _ = try Source(text) }
  }

  @Test func `targets`() throws {
    #expect(try Target("sqlite:a/b.db") == .sqlite(path: "a/b.db"))
    #expect(try Target("sqlite:///a.db") == .sqlite(path: "/a.db"))
    for (text, words) in [
      ("", "is no target"), ("a.db", "is no target"), ("ftp://x", "'ftp' is no known kind"),
      ("postgres:x", "names no server"),
      ("sqlite:", "names no file"), ("sqlite::memory:", "would be gone"),
    ] {
      expectRefusal(words) { _ = try Target(text) }
    }
  }

  @Test func `times`() throws {
    for (text, time) in [
      ("0", .zero), ("10ms", .milliseconds(10)), ("1.5s", .milliseconds(1_500)), ("500us", .microseconds(500)),
      ("2m", .seconds(120)), ("1h", .seconds(3_600)), ("0ms", .zero),
    ] as [(String, Duration)] {
      #expect(try Units.duration(text) == time)
    }
    for (text, words) in [
      ("10", "has no unit: give 10ms"), ("", "is no time"), ("ms", "is no time"), ("-1s", "is no time"),
      ("1d", "'d' in '1d' is no unit"), ("1.2.3s", "is no time"), ("9999999999h", "more than a hundred years"),
    ] {
      expectRefusal(words) { _ = try Units.duration(text) }
    }
  }

  @Test func `sizes`() throws {
    for (text, size) in [("1", 1), ("4MiB", 4 << 20), ("64k", 64 << 10), ("1GiB", 1 << 30)] {
      #expect(try Units.bytes(text) == size)
    }
    for text in ["", "0", "-1", "1.5MiB", "4TB", "99999999999999999999", "100GiB"] {
      expectRefusal(text.isEmpty ? "is no size" : text) { _ = try Units.bytes(text) }
    }
  }

  private func expectRefusal(
    _ words: String, sourceLocation: SourceLocation = #_sourceLocation, _ body: () throws -> Void
  ) {
    #expect(sourceLocation: sourceLocation) {
      try body()
    } throws: { error in
      "\(error)".contains(words)
    }
  }
}
