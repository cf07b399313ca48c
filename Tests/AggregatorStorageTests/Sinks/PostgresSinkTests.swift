import AggregatorTestSupport
import Logging
import Synchronization
import Testing

@testable import AggregatorStorage

@Suite("PostgreSQL sink")
struct PostgresSinkTests {
  private let server: PostgresServer
  private let uri: String

  init() async throws {
    server = try await PostgresServer.shared()
    uri = try await server.database()
  }

  private func sink(connections: Int = 1, uri: String? = nil) throws -> PostgresSink {
    try PostgresSink(
      uri: uri ?? self.uri, connections: connections, logger: Logger(label: "tests") { _ in SwiftLogNoOpLogHandler() })
  }

  private func sql(_ statements: String) async throws -> [String] {
    try await server.sql(statements, uri: uri)
  }

  private func stored(_ stream: String = "messages") async throws -> [String] {
    try await sql("SELECT body FROM \"\(stream)\" ORDER BY id")
  }

  @Test(arguments: [false, true])
  func `messages come back in order, to the letter`(withIdentities: Bool) async throws {
    let sink = try sink()
    let bodies = [
      "1", #"{"b":1,  "a":2, "a": 3}"#, "\"é€😀\"", "123456789012345678901234567890", "1.50", #""a\\b\"c\u0000\/""#,
      #"{"x":"\\N"}"#,
      "\"\(String(repeating: "x", count: 1 << 20))\"",
    ]
    func message(_ index: Int, _ body: String) -> Message {
      Message(
        body: body, receivedAt: 1_700_000_000_123_456 + Int64(index),
        identity: withIdentities ? "é '\"\\ \(index)" : nil)
    }
    try await sink.write(bodies.enumerated().map(message), to: .messages)
    try await sink.write([message(99, "[\n\t1,\r\n2]")], to: .messages)
    try await sink.close()
    #expect(try await stored().joined(separator: "\n") == (bodies + ["[\n\t1,\r\n2]"]).joined(separator: "\n"))
    #expect(
      try await sql("SELECT extract(epoch FROM received_at) FROM messages ORDER BY id LIMIT 1") == ["1700000000.123456"]
    )
    let identities = try await sql("SELECT identity FROM messages WHERE identity IS NOT NULL ORDER BY id")
    #expect(identities.first == (withIdentities ? "é '\"\\ 0" : nil))
  }

  @Test func `an identity is stored once, in the order of the first, among messages that have none`() async throws {
    let sink = try sink(connections: 2)
    let batch = (0..<300).map { index in
      Message(body: "\(index)", receivedAt: 7, identity: index % 3 == 0 ? nil : "\(index % 100)")
    }
    try await sink.write(batch, to: .messages)
    var seen: Set<String> = []
    let expected = batch.filter { message in message.identity.map { seen.insert($0).inserted } ?? true }
    #expect(try await stored() == expected.map(\.body))
    let withIdentities = batch.filter { $0.identity != nil }
    async let one: Void = sink.write(withIdentities, to: .messages)
    async let other: Void = sink.write(withIdentities, to: .messages)
    _ = try await (one, other)
    #expect(try await stored() == expected.map(\.body))
    try await sink.close()
  }

  @Test func `a batch is one transaction: a reader sees all of it or nothing`() async throws {
    let sink = try sink()
    try await sink.prepare(.messages)
    let batch = (0..<250).map { Message(body: "\($0)", receivedAt: 7) }
    let writing = Task { for _ in 0..<40 { try await sink.write(batch, to: .messages) } }
    var counts: Set<Int> = []
    while counts.max() ?? 0 < 10_000 { counts.insert(try await Int(sql("SELECT count(*) FROM messages")[0]) ?? -1) }
    try await writing.value
    #expect(counts.allSatisfy { $0.isMultiple(of: 250) })
    try await sink.close()
  }

  @Test func `streams are written at the same time, and their tables made by whoever comes first`() async throws {
    let sinks = [try sink(connections: 4), try sink(connections: 4)]
    let names = try ["a", "b-b", "pg_class", "select", "a_id_seq1"].map { try StreamName($0) }
    try await withThrowingTaskGroup(of: Void.self) { group in
      for round in 0..<4 {
        for name in names {
          for sink in sinks {
            group.addTask {
              try await sink.write([Message(body: "\(round)", receivedAt: 7, identity: "\(round)")], to: name)
            }
          }
        }
      }
      try await group.waitForAll()
    }
    for name in names {
      let count = try await sql("SELECT count(*) FROM public.\"\(name)\"")
      #expect(count == ["4"])
    }
    for sink in sinks { try await sink.close() }
  }

  @Test func `the table is as it is said to be`() async throws {
    let sink = try sink()
    try await sink.prepare(.messages)
    try await sink.prepare(.messages)
    #expect(
      try await sql(
        """
        SELECT attname, format_type(atttypid, atttypmod), attnotnull, attidentity FROM pg_attribute
        WHERE attrelid = 'messages'::regclass AND attnum > 0 ORDER BY attnum
        """) == [
          "id|bigint|t|d", "received_at|timestamp with time zone|t|", "body|json|t|", "identity|text|f|",
        ])
    #expect(
      try await sql("SELECT indexdef FROM pg_indexes WHERE tablename = 'messages' ORDER BY indexdef") == [
        "CREATE UNIQUE INDEX messages_identity_idx ON public.messages USING btree (identity) WHERE (identity IS NOT NULL)",
        "CREATE UNIQUE INDEX messages_pkey ON public.messages USING btree (id)",
      ])
    try await sink.close()
  }

  @Test(arguments: [
    ("CREATE TABLE messages (x int)", "other columns (x integer)"),
    (
      "CREATE TABLE messages (id bigserial, received_at timestamptz, body jsonb, identity text)",
      "other columns (id bigint not null with a default, received_at timestamp with time zone, body jsonb"
    ),
    (
      "CREATE TABLE messages (id bigserial, received_at timestamptz, body json, identity text, x int NOT NULL)",
      "x integer not null"
    ),
    (
      "CREATE TABLE messages (id bigint, received_at timestamptz, body json, identity text)",
      "other columns (id bigint,"
    ),
    ("CREATE VIEW messages AS SELECT 1", "a view"),
    ("CREATE TABLE x (i int); CREATE INDEX messages ON x (i)", "an index"),
    ("CREATE SEQUENCE messages", "a sequence"),
  ])
  func `a table that does not fit is explained`(schema: String, words: String) async throws {
    _ = try await sql(schema)
    let sink = try sink()
    let atStart = await #expect(throws: ProgramError.self) { try await sink.prepare(.messages) }
    #expect(atStart?.description.contains(words) == true, "\(String(describing: atStart))")
    let later = await #expect(throws: SinkError.self) {
      try await sink.write([.init(body: "1", receivedAt: 7)], to: .messages)
    }
    // It is not the messages that are wrong: they wait until somebody has mended the table.
    #expect(later?.isRetryable == true)
    #expect(later?.description.contains(words) == true)
    try await sink.write([.init(body: "1", receivedAt: 7)], to: StreamName("beside"))
    try await sink.close()
  }

  @Test(arguments: [false, true])
  func `a database without a schema, or one that cannot hold every character, is explained`(isNarrow: Bool) async throws
  {
    var uri = uri
    if isNarrow {
      let name = "narrow_\(uri.suffix(8))"
      _ = try await server.sql("CREATE DATABASE \(name) ENCODING 'LATIN1' TEMPLATE template0")
      uri = server.uri(name)
    } else {
      _ = try await sql("DROP SCHEMA public")
    }
    let sink = try sink(uri: uri)
    let error = await #expect(throws: ProgramError.self) { try await sink.prepare(.messages) }
    #expect(error?.description.contains(isNarrow ? "ENCODING 'UTF8'" : "no schema") == true)
    try await sink.close()
  }

  @Test func `a table of the owner's with more columns is taken, and gets the index that it lacks`() async throws {
    _ = try await sql(
      """
      CREATE TABLE messages (note text DEFAULT 'x' NOT NULL, id bigserial, received_at timestamptz, body json, identity text,
        size int GENERATED ALWAYS AS (length(identity)) STORED)
      """)
    let sink = try sink()
    for _ in 0..<2 { try await sink.write([.init(body: "1", receivedAt: 7, identity: "abc")], to: .messages) }
    #expect(try await sql("SELECT note, id, body, identity, size FROM messages") == ["x|1|1|abc|3"])
    try await sink.close()
  }

  @Test func `a table that is dropped, or an index, is made again by the next attempt`() async throws {
    let sink = try sink()
    let message = Message(body: "1", receivedAt: 7, identity: "a")
    try await sink.write([message], to: .messages)
    for statement in ["DROP TABLE messages", "DROP INDEX messages_identity_idx"] {
      _ = try await sql(statement)
      let error = await #expect(throws: SinkError.self) { try await sink.write([message], to: .messages) }
      #expect(error?.isRetryable == true)
      try await sink.write([message], to: .messages)
      #expect(try await stored() == ["1"])
    }
    try await sink.close()
  }

  @Test func `a permission that is taken away is waited for, and missed at the start`() async throws {
    let role = "writer_\(uri.suffix(8))"
    let message = Message(body: "1", receivedAt: 7, identity: "a")
    let owner = try sink()
    try await owner.prepare(.messages)
    _ = try await sql("CREATE ROLE \(role) LOGIN")
    let theirs = try sink(uri: uri.replacing("postgres@", with: "\(role)@"))
    let missed = await #expect(throws: ProgramError.self) { try await theirs.prepare(.messages) }
    #expect(missed?.description.contains("grant INSERT and SELECT") == true)
    _ = try await sql("GRANT INSERT, SELECT ON messages TO \(role)")
    try await theirs.write([message], to: .messages)
    _ = try await sql("REVOKE INSERT ON messages FROM \(role)")
    for _ in 0..<2 {
      let error = await #expect(throws: SinkError.self) { try await theirs.write([message], to: .messages) }
      #expect(error?.isRetryable == true)
      #expect(error?.description.contains("grant this user") == true)
    }
    _ = try await sql("GRANT INSERT ON messages TO \(role)")
    try await theirs.write([message, .init(body: "2", receivedAt: 7)], to: .messages)
    #expect(try await stored() == ["1", "2"])
    let elsewhere = await #expect(throws: ProgramError.self) { try await theirs.prepare(StreamName("elsewhere")) }
    #expect(elsewhere?.description.contains("42501") == true)
    try await theirs.close()
    try await owner.close()
  }

  @Test(arguments: [false, true])
  func `what a constraint of the owner's refuses is refused for good, with all of its batch`(
    withIdentities: Bool
  ) async throws {
    let sink = try sink()
    try await sink.prepare(.messages)
    _ = try await sql(
      """
      CREATE UNIQUE INDEX ON messages ((body ->> 'key'));
      ALTER TABLE messages ADD CHECK (body ->> 'bad' IS NULL);
      CREATE INDEX ON messages (((body ->> 'number')::int))
      """)
    func messages(_ bodies: [String]) -> [Message] {
      bodies.map { Message(body: $0, receivedAt: 7, identity: withIdentities ? $0 : nil) }
    }
    try await sink.write(messages([#"{"key":"secret"}"#]), to: .messages)
    for (body, state) in [
      (#"{"key": "secret"}"#, "23505"), (#"{"bad":"secret"}"#, "23514"), (#"{"number":"secret"}"#, "22P02"),
      ("secret", "22P02"), (#"{"number":"6666666666"}"#, "22003"),
      ("\"\0\"", "22021"),
    ] {
      let error = await #expect(throws: SinkError.self) {
        try await sink.write(messages(["1", body, "2"]), to: .messages)
      }
      #expect(error?.isRetryable == false)
      #expect(error?.description.contains("SQLSTATE \(state)") == true, "\(String(describing: error))")
      #expect(error?.description.contains("secret") == false)
      #expect(error?.description.contains("6666666666") == false)
      #expect(try await stored() == [#"{"key":"secret"}"#])
    }
    try await sink.write(messages(["3"]), to: .messages)
    #expect(try await stored() == [#"{"key":"secret"}"#, "3"])
    try await sink.close()
  }

  @Test func `it is durable although the database would rather not be`() async throws {
    let name = uri.split(separator: "/").last ?? ""
    _ = try await server.sql("ALTER DATABASE \(name) SET synchronous_commit = off")
    _ = try await sql(
      """
      CREATE TABLE messages (id bigserial, received_at timestamptz, body json, identity text,
        commits text DEFAULT current_setting('synchronous_commit'))
      """)
    let sink = try sink()
    try await sink.write([.init(body: "1", receivedAt: 7)], to: .messages)
    #expect(try await sql("SELECT commits FROM messages") == ["on"])
    try await sink.close()
  }

  @Test func `a server that does not write to its disk is warned of, once`() async throws {
    let log = LogLines()
    let sink = try PostgresSink(uri: uri, connections: 2, logger: Logger(label: "tests") { _ in log })
    try await sink.write([.init(body: "1", receivedAt: 7)], to: .messages)
    async let one: Void = sink.write([.init(body: "1", receivedAt: 7)], to: .messages)
    async let other: Void = sink.write([.init(body: "1", receivedAt: 7)], to: .messages)
    _ = try await (one, other)
    // The servers of the tests run with fsync off.
    #expect(
      log.lines.withLock { $0 } == ["the server runs with fsync off: a crash of its machine may lose what was stored"])
    try await sink.close()
  }

  @Test func `a database that takes no writes for a while is gone on with`() async throws {
    let name = uri.split(separator: "/").last ?? ""
    _ = try await server.sql("ALTER DATABASE \(name) SET default_transaction_read_only = on")
    let sink = try sink()
    for _ in 0..<2 {
      let error = await #expect(throws: SinkError.self) {
        try await sink.write([.init(body: "1", receivedAt: 7)], to: .messages)
      }
      #expect(error?.isRetryable == true)
    }
    let check = await #expect(throws: SinkError.self) { try await sink.check() }
    #expect(check?.description.contains("takes no writes") == true)
    try await sink.close()
    _ = try await server.sql("ALTER DATABASE \(name) RESET default_transaction_read_only")
    let later = try self.sink()
    try await later.check()
    try await later.write([.init(body: "1", receivedAt: 7)], to: .messages)
    try await later.close()
  }

  @Test func `what the program was started with is told as what stays, a server that is down as what passes`()
    async throws
  {
    for (uri, words) in [
      (server.uri("nowhere"), "SQLSTATE 3D000"), (server.uri(user: "nobody-here"), "SQLSTATE 28000"),
      (uri + "?sslmode=geheim", "sslmode"), (uri + "?sslmode=require", "SSL"),
    ] {
      let sink = try sink(uri: uri.replacing("@", with: ":geheim@"))
      let error = await #expect(throws: ProgramError.self) { try await sink.prepare(.messages) }
      #expect(error?.description.contains(words) == true, "\(String(describing: error))")
      #expect(error?.description.contains(":geheim@") == false)
      let later = await #expect(throws: SinkError.self) { try await sink.check() }
      #expect(later?.description.contains(":geheim@") == false)
    }
    #expect(throws: ProgramError.self) { try sink(uri: "postgres://user:ge@heim@host/db") }
    let down = try sink(uri: "postgres://user:geheim@127.0.0.1:1/db")
    for call in [down.check, { try await down.prepare(.messages) }] {
      let error = await #expect(throws: SinkError.self) { try await call() }
      #expect(error?.isRetryable == true)
      #expect(error?.description.contains("refused") == true)
      #expect(error?.description.contains("geheim") == false)
    }
  }
}

/// Keeps what is logged.
private final class LogLines: LogHandler {
  let lines = Mutex<[String]>([])

  var metadata: Logger.Metadata {
    get { [:] }
    set {}
  }
  var logLevel: Logger.Level {
    get { .info }
    set {}
  }

  subscript(metadataKey _: String) -> Logger.Metadata.Value? {
    get { nil }
    set {}
  }

  func log(event: LogEvent) {
    lines.withLock { $0.append("\(event.message)") }
  }
}
