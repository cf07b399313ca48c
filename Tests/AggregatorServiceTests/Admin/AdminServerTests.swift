import AggregatorStorage
import AggregatorTestSupport
import Batching
import CoreMetrics
import Foundation
import HTTPTypes
import Testing

@testable import AggregatorService

/// The admin server on a live port.
@Suite("Admin server", .timeLimit(.minutes(5)))
struct AdminServerTests {
  private let served = Served()

  @Test func `alive it is always, ready only when it says so, and it says why not`() async throws {
    try await served.serve { (port, _) async throws in
      #expect(try await ask(port, "/livez").status == 200)
      #expect(try await ask(port, "/readyz").status == 200)
      served.change { $0.readiness = .notReady("full: 100,000 of 100,000 messages are held") }
      let reply = try await ask(port, "/readyz")
      #expect(reply.status == 503)
      #expect(reply.body == "full: 100,000 of 100,000 messages are held\n")
      #expect(try await ask(port, "/livez").status == 200)
    }
  }

  @Test func `statistics, history and metrics are of this moment`() async throws {
    try await served.serve { (port, _) async throws in
      let meter = served.meters.meter(for: .messages)
      meter.received(messages: 12)
      served.clock.advance(by: .seconds(1))
      let statistics = try await ask(port, "/v1/statistics")
      #expect(statistics.headers[.contentType] == "application/json")
      #expect(statistics.headers[.cacheControl] == "no-store")
      let overview = try JSONDecoder().decode(Overview.self, from: Data(statistics.body.utf8))
      #expect(overview.version == "1.2.3" && overview.totals.received == 12 && overview.totals.held == 12)
      let history = try JSONDecoder().decode(
        History.self, from: Data(try await ask(port, "/v1/history").body.utf8))
      #expect(history.totals.received == [12])
      served.metrics.makeCounter(label: "own", dimensions: []).increment(by: 5)
      let metrics = try await ask(port, "/metrics")
      #expect(metrics.headers[.contentType] == "text/plain; version=0.0.4; charset=utf-8")
      let text = try PrometheusParser(metrics.body)
      #expect(text.value("aggregator_messages_received_total", ["stream": "messages"]) == 12)
      #expect(text.value("own_total") == 5)
    }
  }

  @Test func `the page and all that it loads have their types, and headers that keep others out`() async throws {
    try await served.serve { (port, _) async throws in
      let page = try await ask(port, "/")
      #expect(page.headers[.contentType] == "text/html; charset=utf-8")
      let types = ["css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"]
      var paths = Set(page.body.matches(of: /(?:src|href)="(\/[^"]+\.[a-z]+)"/).map { String($0.1) })
      let script = try await ask(port, "/page.js").body
      paths.formUnion(script.matches(of: /from "\.(\/[^"]+)"/).map { String($0.1) })
      #expect(paths.count >= 5)
      for path in paths.union(["/"]) {
        let reply = try await ask(port, path)
        #expect(reply.status == 200, "\(path)")
        if let type = types[String(path.split(separator: ".").last ?? "")] {
          #expect(reply.headers[.contentType] == type)
        }
        #expect(reply.headers[.contentSecurityPolicy]?.hasPrefix("default-src 'self';") == true)
        #expect(reply.headers[.xContentTypeOptions] == "nosniff")
        #expect(reply.body.utf8.count > 200)
      }
    }
  }

  @Test func `HEAD answers as GET without a body`() async throws {
    try await served.serve { (port, server) async throws in
      for path in ["/", "/livez", "/metrics", "/page.css"] {
        let get = try await ask(port, path)
        let head = try await ask(port, path, .head)
        #expect(head.status == 200 && head.body.isEmpty)
        #expect(head.headers[.contentLength] == get.headers[.contentLength])
        #expect(head.headers[.contentType] == get.headers[.contentType])
      }
      let raw = try RawConnection(port: port)
      raw.send("HEAD /v1/events HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
      let answer = try await raw.receive { _ in false }
      #expect(answer.hasPrefix("HTTP/1.1 200 ") && answer.contains("text/event-stream"))
      #expect(answer.hasSuffix("\r\n\r\n"))
      #expect(server.events.listeners == 0)
    }
  }

  @Test func `other paths and methods are told so in one line`() async throws {
    try await served.serve { (port, _) async throws in
      let missing = try await ask(port, "/v1/nothing")
      #expect(missing.status == 404 && missing.body.count { $0.isNewline } == 1)
      let wrong = try await ask(port, "/metrics", .post)
      #expect(wrong.status == 405 && wrong.headers[.allow] == "GET, HEAD")
      let flush = try await ask(port, "/v1/flush")
      #expect(flush.status == 405 && flush.headers[.allow] == "POST")
      #expect(served.now.flushes == 0)
    }
  }

  @Test func `flush is for the operator, not for the sites that he has open`() async throws {
    try await served.serve { (port, _) async throws in
      #expect(try await ask(port, "/v1/flush", .post).status == 200)
      let site = try #require(HTTPField.Name("Sec-Fetch-Site"))
      #expect(try await ask(port, "/v1/flush", .post, [site: "same-origin"]).status == 200)
      #expect(try await ask(port, "/v1/flush", .post, [.origin: "http://127.0.0.1:\(port)"]).status == 200)
      #expect(served.now.flushes == 3)
      for fields: HTTPFields in [
        [site: "cross-site"], [site: "same-site"], [.origin: "http://evil.example"], [.origin: "null"],
        [.origin: "http://127.0.0.1:1"],
      ] {
        #expect(try await ask(port, "/v1/flush", .post, fields).status == 403)
      }
      #expect(served.now.flushes == 3)
      served.change { $0.flushError = ProgramError("no") }
      #expect(try await ask(port, "/v1/flush", .post).status == 503)
    }
  }

  @Test func `on loopback only loopback's names are answered`() async throws {
    try await served.serve { (port, _) async throws in
      for host in ["localhost", "LOCALHOST:\(port)", "127.0.0.1:9", "[::1]:9"] {
        #expect(try await ask(port, "/v1/statistics", host: host).status == 200, "\(host)")
      }
      for host in ["evil.example", "127.0.0.1.evil.example:\(port)", "localhost.evil.example", "10.0.0.1"] {
        let reply = try await ask(port, "/v1/statistics", host: host)
        #expect(reply.status == 421 && !reply.body.contains("version"), "\(host)")
      }
    }
  }
}
