import AggregatorStorage
import AggregatorTestSupport
import Testing

/// What every sink does.
///
/// Each kind of sink is a ``SinkFixture``.
@Suite("Every sink", .timeLimit(.minutes(5)))
struct SinkSuite {
  @Test(arguments: SinkFixture.all)
  func `messages come back in order, to the letter`(fixture: SinkFixture) async throws {
    let bodies = [
      "1", #"{"b":1,  "a":2, "a":3}"#, "\"é€😀 \u{2028} e\u{301}\"", "123456789012345678901234567890", "1.50", "-0e+7",
      #""\n\r\u0000\"\\""#, "{\n  \"a\": [\r\n    1,\n    2\n  ]\n}", " true ",
      "\"\(String(repeating: "x", count: 1 << 20))\"",
    ]
    try await fixture.use { place in
      let sink = try await place.open()
      try await sink.write(messages(bodies), to: .messages)
      try await sink.write(messages(["true"]), to: .messages)
      #expect(try await place.stored(.messages) == bodies.map(fixture.expected) + ["true"])
      try await sink.close()
      #expect(try await place.stored(.messages) == bodies.map(fixture.expected) + ["true"])
    }
  }

  @Test(arguments: SinkFixture.all.filter(\.keepsStreamsApart))
  func `streams are apart`(fixture: SinkFixture) async throws {
    let names = [StreamName.messages, try StreamName("a"), try StreamName("b-1"), try StreamName("select")]
    try await fixture.use { place in
      let sink = try await place.open()
      for round in 0..<3 {
        for name in names { try await sink.write(messages(["\"\(name) \(round)\""]), to: name) }
      }
      try await sink.close()
      for name in names { #expect(try await place.stored(name) == (0..<3).map { "\"\(name) \($0)\"" }) }
    }
  }

  @Test(arguments: SinkFixture.all)
  func `streams that are written at the same time do not disturb each other`(fixture: SinkFixture) async throws {
    let names = try (0..<8).map { try StreamName("s\($0)") }
    func bodies(_ name: StreamName, _ batch: Int) -> [String] { (0..<20).map { "[\"\(name)\",\(batch),\($0)]" } }
    try await fixture.use { place in
      let sink = try await place.open()
      try await withThrowingTaskGroup(of: Void.self) { group in
        for name in names {
          group.addTask {
            for batch in 0..<10 { try await sink.write(messages(bodies(name, batch)), to: name) }
          }
        }
        try await group.waitForAll()
      }
      try await sink.close()
      for name in names {
        let stored = try await place.stored(name).filter { $0.hasPrefix("[\"\(name)\"") }
        #expect(stored == (0..<10).flatMap { bodies(name, $0) })
      }
    }
  }

  @Test(arguments: SinkFixture.all)
  func `batches of one stream that are written at the same time stay in one piece`(fixture: SinkFixture) async throws {
    func bodies(_ batch: Int) -> [String] { (0..<50).map { "[\(batch),\($0)]" } }
    try await fixture.use { place in
      let sink = try await place.open()
      try await withThrowingTaskGroup(of: Void.self) { group in
        for batch in 0..<20 { group.addTask { try await sink.write(messages(bodies(batch)), to: .messages) } }
        try await group.waitForAll()
      }
      try await sink.close()
      let stored = try await place.stored(.messages)
      #expect(stored.count == 1_000)
      guard fixture.linesUpBatches else {
        for batch in 0..<20 { #expect(stored.filter { $0.hasPrefix("[\(batch),") } == bodies(batch)) }
        return
      }
      let pieces = Set(stride(from: 0, to: stored.count, by: 50).map { Array(stored[$0..<min($0 + 50, stored.count)]) })
      #expect(pieces == Set((0..<20).map(bodies)))
    }
  }

  @Test(arguments: SinkFixture.all)
  func `batches may be empty, look empty, and be large`(fixture: SinkFixture) async throws {
    let hollow = ["\"\"", "{}", "[]", "null", "0", "\" \""]
    let large = (0..<20_000).map { "{\"number\":\($0),\"text\":\"\(String(repeating: "y", count: 80))\"}" }
    try await fixture.use { place in
      let sink = try await place.open()
      try await sink.write([], to: .messages)
      #expect(try await place.stored(.messages) == [])
      try await sink.write(messages(hollow), to: .messages)
      try await sink.write(messages(large), to: .messages)
      try await sink.write([], to: .messages)
      try await sink.close()
      #expect(try await place.stored(.messages) == hollow + large)
    }
  }

  @Test(arguments: SinkFixture.all)
  func `a message with a known identity is passed over where identities are kept`(fixture: SinkFixture) async throws {
    func message(_ body: String, _ identity: String?) -> Message {
      var message = messages([body])[0]
      message.identity = identity
      return message
    }
    let other = try StreamName("other")
    try await fixture.use { place in
      var sink = try await place.open()
      try await sink.write([message("1", "a"), message("2", "a"), message("3", nil), message("3", nil)], to: .messages)
      try await sink.write([message("4", "b"), message("5", "a"), message("6", "é'\"\\\t,{}")], to: .messages)
      if fixture.keepsStreamsApart { try await sink.write([message("7", "a")], to: other) }
      try await sink.close()
      sink = try await place.open()
      try await sink.write([message("8", "b"), message("9", "é'\"\\\t,{}"), message("10", "c")], to: .messages)
      try await sink.close()
      let expected =
        fixture.keepsIdentities
        ? ["1", "3", "3", "4", "6", "10"] : ["1", "2", "3", "3", "4", "5", "6", "8", "9", "10"]
      #expect(try await place.stored(.messages) == expected)
      if fixture.keepsStreamsApart { #expect(try await place.stored(other) == ["7"]) }
    }
  }

  @Test(arguments: SinkFixture.all)
  func `what is there is gone on with`(fixture: SinkFixture) async throws {
    try await fixture.use { place in
      for body in ["1", "2", "3"] {
        let sink = try await place.open()
        try await sink.write(messages([body]), to: .messages)
        try await sink.close()
      }
      #expect(try await place.stored(.messages) == ["1", "2", "3"])
    }
  }

  @Test(arguments: SinkFixture.all.filter(\.canFail))
  func `of a batch that fails nothing is stored, and the next goes on`(fixture: SinkFixture) async throws {
    let other = try StreamName("other")
    try await fixture.use { place in
      let sink = try await place.open()
      try await sink.write(messages(["0"]), to: other)
      try await place.obstruct(.messages)
      let failed = messages(["1", "\"secret\"", "3"])
      let error = await #expect(throws: SinkError.self) { try await sink.write(failed, to: .messages) }
      #expect(error?.description.contains("secret") == false, "messages are not quoted")
      try await place.clear(.messages)
      #expect(try await place.stored(.messages) == [])
      try await sink.write(failed, to: .messages)
      try await sink.write(messages(["4"]), to: .messages)
      try await sink.write(messages(["5"]), to: other)
      try await sink.close()
      #expect(try await place.stored(.messages) == ["1", "\"secret\"", "3", "4"])
      #expect(try await place.stored(other) == ["0", "5"])
    }
  }

  @Test(arguments: SinkFixture.all)
  func `check tells whether it could store, and stores nothing`(fixture: SinkFixture) async throws {
    try await fixture.use { place in
      let sink = try await place.open()
      try await sink.check()
      try await sink.write(messages(["1"]), to: .messages)
      try await sink.check()
      #expect(try await place.stored(.messages) == ["1"])
      try await place.takeAway()
      await #expect(throws: SinkError.self) { try await sink.check() }
      try? await sink.close()
    }
  }

  @Test(arguments: SinkFixture.all)
  func `one that was never written to is closed`(fixture: SinkFixture) async throws {
    try await fixture.use { place in
      try await place.open().close()
      #expect(try await place.stored(.messages) == [])
    }
  }
}
