import AggregatorTestSupport
import Foundation
import Logging
import Synchronization
import Testing

@testable import AggregatorService

@Suite("JSON log lines")
struct JSONLogHandlerTests {
  private final class Lines: Sendable {
    private let lines = Mutex<[String]>([])
    var all: [String] { lines.withLock { $0 } }
    func append(_ line: String) { lines.withLock { $0.append(line) } }
  }

  private let lines = Lines()

  private func logger(_ provider: Logger.MetadataProvider? = nil) -> Logger {
    let lines = lines
    return Logger(label: "aggregator") { label in
      JSONLogHandler(label: label, metadataProvider: provider) { lines.append($0) }
    }
  }

  private func object() throws -> [String: Any] {
    let line = try #require(lines.all.last)
    #expect(line.hasSuffix("}\n") && line.count { $0.isNewline } == 1)
    return try #require(try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
  }

  @Test func `a line is an object with time, level, label, message and metadata`() throws {
    var logger = logger(.init { ["own": "provider's", "from": "provider"] })
    logger[metadataKey: "own"] = "logger's"
    logger[metadataKey: "kept"] = "logger's"
    logger.error("storing \"failed\"\n\u{1}", metadata: ["count": "\(3)", "list": ["a", ["b": "☃\\"]]])
    let object = try object()
    #expect(object["level"] as? String == "error")
    #expect(object["label"] as? String == "aggregator")
    #expect(object["message"] as? String == "storing \"failed\"\n\u{1}")
    let time = try #require(object["time"] as? String)
    #expect(time.wholeMatch(of: /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z/) != nil, "\(time)")
    let metadata = try #require(object["metadata"] as? [String: Any])
    #expect(metadata["count"] as? String == "3")
    #expect(metadata["kept"] as? String == "logger's")
    #expect(metadata["own"] as? String == "provider's")
    #expect(metadata["from"] as? String == "provider")
    let list = try #require(metadata["list"] as? [Any])
    #expect(list[0] as? String == "a")
    #expect(list[1] as? [String: String] == ["b": "☃\\"])
  }

  @Test func `without metadata there is none, and what is below the level is not written`() throws {
    let logger = logger()
    logger.debug("unseen")
    logger.notice("seen")
    #expect(lines.all.count == 1)
    let object = try object()
    #expect(Set(object.keys) == ["time", "level", "label", "message"])
  }
}
