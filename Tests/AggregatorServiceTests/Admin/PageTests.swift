import AggregatorStorage
import AggregatorTestSupport
import Batching
import Foundation
import Testing

@testable import AggregatorService

/// The page as an operator sees it, in a real browser.
@Suite("Page", .serialized, .timeLimit(.minutes(5)))
struct PageTests {
  private let served = Served()

  /// Two streams under way for two and a half minutes: one goes well, the other's store has gone away.
  private func setUp() throws {
    let messages = served.meters.meter(for: .messages)
    let audit = served.meters.meter(for: try StreamName("audit"))
    var random = SystemRandomNumberGenerator()
    for second in 0..<150 {
      let wave = 1_300 + 500 * sin(Double(second) / 19) + Double.random(in: -150...150, using: &random)
      if second == 140 { audit.rejected(messages: 2) }
      if second == 145 { audit.received(messages: 60) }
      for part in 0..<4 {
        let count = Int(wave / 4)
        messages.received(messages: count)
        let took = Duration.microseconds(Int.random(in: 2_000...9_000, using: &random))
        messages.batchBegan(
          messages: count, trigger: second % 5 == part ? .size : .linger, attempt: 1,
          waited: .microseconds(Int.random(in: 4_000...21_000, using: &random)))
        served.clock.advance(by: took)
        messages.batchEnded(messages: count, took: took, outcome: .stored)
        let isTried = second >= 145 && second < 148 && part == 0
        if isTried { fail(audit, attempt: second - 144) }
        served.clock.advance(by: .milliseconds(250) - took - (isTried ? .milliseconds(100) : .zero))
      }
    }
    messages.received(messages: 173)
    served.change { said in
      said.program.journal = Overview.Journal(
        messages: 10_233, bytes: 5_233_112, maximumBytes: 1 << 30, oldestSeconds: 2.4)
      said.program.deadLetters = 3
      said.program.connections = 64
    }
  }

  private func fail(_ meter: StreamMeter, attempt: Int) {
    meter.batchBegan(messages: 60, trigger: .linger, attempt: attempt, waited: .milliseconds(20))
    served.clock.advance(by: .milliseconds(100))
    meter.batchEnded(
      messages: 60, took: .milliseconds(100), outcome: .failed(reason: "postgres://db/events: connection refused"))
  }

  /// Opens the page and waits for its first numbers.
  private func open(_ browser: Browser, _ port: Int, _ path: String = "/") async throws {
    try await browser.open("http://127.0.0.1:\(port)\(path)")
    try await eventually("it is live") { try await browser.text("link-text").hasPrefix("Live") }
    try await eventually("the chart is drawn") {
      try await browser.run("return document.querySelector('.chart path.in').getAttribute('d')?.length > 100")
        as? Bool == true
    }
  }

  private func isWithinWidth(_ browser: Browser) async throws -> Bool {
    try await browser.run("return document.documentElement.scrollWidth <= innerWidth") as? Bool == true
  }

  @Test func `it shows what there is, and changes live`() async throws {
    try setUp()
    try await Browser.use { browser in
      try await served.serve { (port, _) async throws in
        try await open(browser, port)
        let messages = served.meters.meter(for: .messages)
        let before = messages.reading().counts.received + 60
        #expect(try await browser.text("received") == StreamState.grouped(before))
        #expect(try await browser.text("state-word") == "Backing off: audit")
        #expect(
          try await browser.text("state-sentence")
            == "The last 3 attempts failed, 2 s ago, and it will be tried again: postgres://db/events: connection refused"
        )
        #expect(try await browser.text("source") == "http://127.0.0.1:8080")
        #expect(try await browser.text("target") == "postgres://db/events")
        for (id, number) in [("retries", "2"), ("rejected", "2"), ("dead", "3"), ("connections", "64")] {
          #expect(try await browser.text(id) == number)
        }
        #expect(try await browser.text("journal-bytes") == "5 MiB of 1 GiB")
        messages.received(messages: 1_000)
        try await eventually("the number has changed") {
          try await browser.text("received") == StreamState.grouped(before + 1_000)
        }
        served.meters.meter(for: try StreamName("clicks")).received(messages: 5)
        try await eventually("a new stream is there") {
          try await browser.run("return document.querySelectorAll('#streams input').length") as? Int == 4
        }
        #expect(try await browser.console() == [])
      }
    }
  }

  @Test func `of a program behind a log it shows how far behind, and what is read here`() async throws {
    try setUp()
    try await Browser.use { browser in
      try await served.serve { (port, _) async throws in
        try await open(browser, port)
        #expect(try await browser.run("return document.getElementById('log').hidden") as? Bool == true)
        var lag = LogLag()
        lag.assigned = (0..<20).map { "orders/\($0)" }
        for (index, name) in lag.assigned.enumerated() { lag.behind[name] = index * 1_000 }
        lag.messages = 190_000
        lag.redelivered = 1_234
        let log = Overview.Log(lag)
        served.change { $0.program.log = log }
        try await eventually("it says so") {
          try await browser.text("log-sentence") == "190,000 messages behind; 20 partitions here."
        }
        #expect(try await browser.text("log-behind") == "190,000")
        #expect(try await browser.text("log-assigned") == "20 partitions")
        #expect(try await browser.text("log-redelivered") == "1,234")
        let rows =
          "[...document.querySelectorAll('#log-partitions tr')].map((row) => row.innerText.trim().split(/\\s+/).join(' '))"
        let shown = try await browser.run("return \(rows)") as? [String]
        #expect(shown?.count == 6 && shown?.first == "orders/19 19,000" && shown?.last == "orders/14 14,000")
        #expect(try await browser.text("log-more") == "And 14 more that are less far behind.")
        for (name, width) in [("phone", 360), ("wide", 1_180)] {
          try await browser.resize(width: width, height: 1_300)
          #expect(try await isWithinWidth(browser), "\(name)")
          try await browser.keepPicture("\(name)-log")
        }
        #expect(try await browser.console() == [])
      }
    }
  }

  @Test func `a stream is chosen, and all is flushed, by keyboard`() async throws {
    try setUp()
    try await Browser.use { browser in
      try await served.serve { (port, _) async throws in
        try await open(browser, port)
        // The link that skips, then the streams, which are one stop.
        try await browser.press([.tab, .tab])
        #expect(try await browser.run("return document.activeElement.name") as? String == "stream")
        #expect(
          try await browser.run(
            "return getComputedStyle(document.activeElement.nextElementSibling).outlineStyle") as? String == "solid")
        try await browser.press([.right])
        try await eventually("the stream is shown") { try await browser.text("received") == "60" }
        #expect(try await browser.text("state-word") == "Backing off")
        #expect(try await browser.text("failure-reason") == "postgres://db/events: connection refused")
        #expect(try await browser.run("return location.hash") as? String == "#audit")
        try await browser.press([.right])
        try await eventually("the other stream is shown") {
          try await browser.text("received")
            == StreamState.grouped(served.meters.meter(for: .messages).reading().counts.received)
        }
        try await browser.press([.tab])
        #expect(try await browser.run("return document.activeElement.id") as? String == "flush")
        try await browser.press([.enter])
        try await eventually("it says so") { try await browser.text("flush-said") == "Flushed." }
        #expect(served.now.flushes == 1)
        #expect(try await browser.console() == [])
      }
    }
  }

  @Test func `it fits a phone, light and dark, and a wide screen`() async throws {
    try setUp()
    try await Browser.use { browser in
      try await served.serve { (port, _) async throws in
        var colours: Set<String> = []
        for scheme in ["light", "dark"] {
          try await browser.prefer(["prefers-color-scheme": scheme, "prefers-reduced-motion": "reduce"])
          for (name, width, height) in [("phone", 360, 1_200), ("tablet", 768, 1_000), ("wide", 1_180, 1_300)] {
            try await browser.resize(width: width, height: height)
            for path in ["/", "/#messages"] {
              try await open(browser, port, path)
              #expect(try await isWithinWidth(browser), "\(name) \(path)")
              try await browser.keepPicture("\(name)-\(scheme)\(path == "/" ? "" : "-stream")")
            }
          }
          colours.insert(
            try await browser.run("return getComputedStyle(document.body).backgroundColor") as? String ?? "")
          #expect(
            try await browser.run(
              "return getComputedStyle(document.querySelector('.bar i')).transitionDuration") as? String == "0s")
        }
        #expect(colours.count == 2)
        #expect(try await browser.console() == [])
      }
    }
  }

  @Test func `it says that the program is gone, and goes on by itself when it is there again`() async throws {
    try setUp()
    try await Browser.use { browser in
      var port = 0
      try await served.serve { (first, _) async throws in
        port = first
        try await open(browser, port)
      }
      try await eventually("it says so") { try await browser.text("link-text").hasPrefix("Connection lost") }
      // Another process, as it were: its clock begins anew.
      let next = Served()
      next.clock.advance(by: .seconds(3))
      next.meters.meter(for: .messages).received(messages: 7)
      try await next.serve(port: port) { (port, _) async throws in
        try await eventually("it is live") { try await browser.text("link-text").hasPrefix("Live") }
        #expect(try await browser.text("received") == "7")
        #expect(try await browser.text("notice").contains("restarted"))
        next.change { $0.program.state = .draining }
        try await eventually("it says that it ends") { try await browser.text("notice").contains("about to end") }
      }
    }
  }
}
