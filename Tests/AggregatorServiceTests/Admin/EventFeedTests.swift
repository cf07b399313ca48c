import AggregatorStorage
import AggregatorTestSupport
import Foundation
import HTTPTypes
import Testing

@testable import AggregatorService

/// Server-sent events, byte for byte.
@Suite("Events", .timeLimit(.minutes(5)))
struct EventFeedTests {
  private let served = Served()
  private static let request = "GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n"

  private func overviews(_ text: String) -> [Overview] {
    text.matches(of: /data: (\{.*\})\n\n/).compactMap {
      try? JSONDecoder().decode(Overview.self, from: Data($0.1.utf8))
    }
  }

  @Test func `who listens gets an overview now, and the next ones as time goes on`() async throws {
    try await served.serve { (port, _) async throws in
      let connection = try RawConnection(port: port)
      connection.send(Self.request)
      let first = try await connection.receive { overviews($0).count >= 1 }
      #expect(first.contains("text/event-stream"))
      #expect(first.contains("retry: 1000\n\n"))
      served.meters.meter(for: .messages).received(messages: 42)
      let next = try await connection.receive { overviews($0).contains { $0.totals.received == 42 } }
      #expect(overviews(next).count >= 1)
    }
  }

  @Test func `while nobody listens nothing is made`() async throws {
    try await served.serve { (port, server) async throws in
      do {
        let connection = try RawConnection(port: port)
        connection.send(Self.request)
        _ = try await connection.receive { overviews($0).count >= 3 }
        #expect(served.now.asked >= 3)
      }
      try await eventually("it is seen that nobody listens") { server.events.listeners == 0 }
      // One may be on its way.
      try await eventually("it has become quiet") {
        let asked = served.now.asked
        try await Task.sleep(for: .milliseconds(200))
        return served.now.asked == asked
      }
      let again = try RawConnection(port: port)
      again.send(Self.request)
      _ = try await again.receive { overviews($0).count >= 2 }
    }
  }

  @Test func `one overview is made for all who listen`() async throws {
    try await served.serve(interval: .milliseconds(250)) { (port, server) async throws in
      let connections = try (0..<20).map { _ in try RawConnection(port: port) }
      for connection in connections { connection.send(Self.request) }
      try await eventually("all listen") { server.events.listeners == 20 }
      let before = served.now.asked
      for connection in connections {
        _ = try await connection.receive { overviews($0).count >= 2 }
      }
      // Twenty that got two each: had each been made for one, there would be more.
      #expect(served.now.asked - before < 20)
    }
  }

  @Test func `their number is bounded, and one who leaves makes room`() async throws {
    try await served.serve { (port, server) async throws in
      var connections = try (0..<EventFeed.mostListeners).map { _ in try RawConnection(port: port) }
      for connection in connections { connection.send(Self.request) }
      try await eventually("all listen") { server.events.listeners == EventFeed.mostListeners }
      let refused = try await ask(port, "/v1/events")
      #expect(refused.status == 503 && refused.headers[.retryAfter] == "5")
      connections.removeLast()
      try await eventually("one has left") { server.events.listeners == EventFeed.mostListeners - 1 }
      let late = try RawConnection(port: port)
      late.send(Self.request)
      _ = try await late.receive { overviews($0).count >= 1 }
    }
  }

  @Test func `at the end the stream is ended cleanly`() async throws {
    var connection: RawConnection?
    try await served.serve { (port, _) async throws in
      let listening = try RawConnection(port: port)
      listening.send(Self.request)
      _ = try await listening.receive { overviews($0).count >= 1 }
      connection = listening
    }
    let rest = try await #require(connection).receive { _ in false }
    #expect(rest.hasSuffix("0\r\n\r\n"))
  }

  @Test func `one who does not read neither holds up the end nor lets anything pile up`() async throws {
    // Large overviews, so that the buffers between are soon full.
    for number in 0..<100 {
      served.meters.meter(for: try StreamName("stream-with-a-rather-long-name-\(number)")).received(messages: 1)
    }
    try await served.serve(interval: .milliseconds(1)) { (port, server) async throws in
      let deaf = try RawConnection(port: port)
      deaf.send(Self.request)
      try await eventually("it listens") { server.events.listeners == 1 }
      try await eventually("the one who does not read is cut off") { server.events.listeners == 0 }
      let deafAtTheEnd = try RawConnection(port: port)
      deafAtTheEnd.send(Self.request)
      try await eventually("the other one listens") { server.events.listeners == 1 }
      let asked = served.now.asked
      try await eventually("some events have passed") { served.now.asked > asked + 20 }
    }
  }
}
