import AggregatorTestSupport
import PostgresClient
import Testing

@Suite("PostgreSQL client")
struct PostgresClientTests {
  private func connect(_ uri: String) async throws -> PostgresConnection {
    try await PostgresConnection.connect(
      to: PostgresAddress(uri: uri), applicationName: "tests", until: .now + .seconds(20))
  }

  @Test func `statements return rows, errors have SQLSTATE, and the connection goes on`() async throws {
    let connection = try await connect(try await PostgresServer.shared().uri())
    let rows = try await connection.perform(until: .now + .seconds(20)) { session in
      let error = #expect(throws: PostgresError.self) { try session.query("SELECT 1; SELEC 2") }
      #expect(error?.state == "42601")
      let late = #expect(throws: PostgresError.self) { try session.query("SELECT 1; SELECT 1 / 0; SELECT 2") }
      #expect(late?.state == "22012")
      return try session.query("SELECT 1; SELECT $$a|b$$, NULL, current_setting('application_name')").rows
    }
    #expect(rows == [["a|b", nil, "tests"]])
    #expect(await connection.isOpen)
    await connection.close()
    #expect(await !connection.isOpen)
    await #expect(throws: PostgresError.self) {
      try await connection.perform(until: .now + .seconds(20)) { try $0.query("SELECT 1") }
    }
  }

  @Test func `values of parameters are no SQL`() async throws {
    let connection = try await connect(try await PostgresServer.shared().uri())
    let text = #"'; DROP TABLE x; -- \ "é😀""#
    let value = try await connection.perform(until: .now + .seconds(20)) {
      try $0.query("SELECT $1::text", [.text(text)]).firstValue
    }
    #expect(value == text)
  }

  @Test func `a COPY of many megabytes goes through, and one that fails leaves the connection usable`() async throws {
    let connection = try await connect(try await PostgresServer.shared().uri())
    let document = "\"\(String(repeating: "x", count: 1 << 20))\""
    try await connection.perform(until: .now + .seconds(60)) { session in
      try session.query("CREATE TEMP TABLE documents (body json)")
      var rows = CopyRows(columns: 1, capacity: 20 << 20)
      for _ in 0..<20 {
        rows.beginRow()
        rows.append(document)
      }
      try session.copy("COPY documents FROM STDIN (FORMAT binary)", rows.finish())
      #expect(try session.query("SELECT sum(length(body::text)) FROM documents").firstValue == "\(20 * document.count)")
      var bad = CopyRows(columns: 1, capacity: 20 << 20)
      for index in 0..<20 {
        bad.beginRow()
        bad.append(index == 1 ? "secret" : document)
      }
      let data = bad.finish()
      let error = #expect(throws: PostgresError.self) {
        try session.copy("BEGIN; COPY documents FROM STDIN (FORMAT binary)", data)
      }
      #expect(error?.state == "22P02")
      #expect(error?.description.contains("secret") == false)
      session.rollBack()
      #expect(throws: PostgresError.self) { try session.copy("SELECT 1", []) }
      #expect(throws: PostgresError.self) { try session.copy("COPY nowhere FROM STDIN", []) }
      #expect(try session.query("SELECT count(*) FROM documents").firstValue == "20")
    }
  }

  @Test func `a call is over at its deadline, or when its task is cancelled, whatever the server does`() async throws {
    let uri = try await PostgresServer.shared().uri()
    let late = try await connect(uri)
    let error = await #expect(throws: PostgresError.self) {
      try await late.perform(until: .now + .milliseconds(50)) { try $0.query("SELECT pg_sleep(600)") }
    }
    #expect(error?.state == nil)
    #expect(await !late.isOpen)

    let cancelled = try await connect(uri)
    let call = Task {
      try await cancelled.perform(until: .now + .seconds(600)) { try $0.query("SELECT pg_sleep(600) AS cancelled") }
    }
    let server = try await PostgresServer.shared()
    try await eventually("the server sleeps") {
      try await server.sql("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%AS cancelled'") != ["0"]
    }
    call.cancel()
    await #expect(throws: CancellationError.self) { try await call.value }
    #expect(await !cancelled.isOpen)
  }

  @Test func `connections are shared: those who wait are served, expire, and can be cancelled`() async throws {
    let server = try await PostgresServer.shared()
    let pool = PostgresPool(address: try PostgresAddress(uri: server.uri()), applicationName: "pool", size: 2)
    let pids = try await withThrowingTaskGroup(of: String?.self) { group in
      for _ in 0..<20 {
        group.addTask {
          try await pool.perform(until: .now + .seconds(60)) { try $0.query("SELECT pg_backend_pid()").firstValue }
        }
      }
      return try await group.reduce(into: Set<String?>()) { $0.insert($1) }
    }
    #expect((1...2).contains(pids.count))

    let sleepers = (0..<2).map { index in
      Task { try await pool.perform(until: .now + .seconds(600)) { try $0.query("SELECT pg_sleep(600 + \(index))") } }
    }
    try await eventually("both are in use") {
      try await server.sql(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pool' AND query LIKE '%pg_sleep(60%'") == ["2"]
    }
    let expired = await #expect(throws: PostgresError.self) {
      try await pool.perform(until: .now + .milliseconds(20)) { try $0.query("SELECT 1") }
    }
    #expect(expired?.description.contains("busy") == true)
    let waiting = Task { try await pool.perform(until: .now + .seconds(600)) { try $0.query("SELECT 1") } }
    waiting.cancel()
    await #expect(throws: CancellationError.self) { try await waiting.value }
    let served = Task { try await pool.perform(until: .now + .seconds(60)) { try $0.query("SELECT 3").firstValue } }
    for sleeper in sleepers { sleeper.cancel() }
    #expect(try await served.value == "3")
    await pool.close()
    await #expect(throws: PostgresError.self) {
      try await pool.perform(until: .now + .seconds(60)) { try $0.query("SELECT 1") }
    }
  }

  @Test func `calls that are cancelled while they wait, or run, leave no connection in use`() async throws {
    let server = try await PostgresServer.shared()
    let pool = PostgresPool(address: try PostgresAddress(uri: server.uri()), applicationName: "pool", size: 1)
    for round in 0..<20 {
      let calls = (0..<8).map { _ in
        Task { try await pool.perform(until: .now + .seconds(600)) { try $0.query("SELECT pg_sleep(0.001)") } }
      }
      for (index, call) in calls.enumerated() where (index + round) % 3 != 0 {
        if index % 2 == 0 { await Task.yield() }
        call.cancel()
      }
      for call in calls { _ = await call.result }
    }
    let answer = try await pool.perform(until: .now + .seconds(60)) { try $0.query("SELECT 3").firstValue }
    #expect(answer == "3")
    await pool.close()
  }

  @Test func `calls that hang take no thread from others`() async throws {
    let server = try await PostgresServer.shared()
    let pool = PostgresPool(address: try PostgresAddress(uri: server.uri()), applicationName: "hanging", size: 20)
    let hanging = (0..<20).map { _ in
      Task { try await pool.perform(until: .now + .seconds(600)) { try $0.query("SELECT pg_sleep(600)") } }
    }
    try await eventually("all hang, and this goes on") {
      try await server.sql(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'hanging' AND query LIKE '%pg_sleep%'") == [
          "20"
        ]
    }
    for call in hanging { call.cancel() }
    for call in hanging { await #expect(throws: CancellationError.self) { try await call.value } }
    await pool.close()
  }

  @Test func `it speaks TLS, and gives a password that it never tells`() async throws {
    let server = try await PostgresServer(tls: true)
    try await server.sql("CREATE ROLE guarded LOGIN PASSWORD 'ge:h@im'")
    let wrong = server.uri(user: "guarded:geheim") + "?sslmode=require"
    let error = await #expect(throws: PostgresError.self) { _ = try await connect(wrong) }
    #expect(error?.state == "28P01")
    #expect(error?.description.contains("geheim") == false)
    let plain = server.uri(user: "guarded:ge%3Ah%40im") + "?sslmode=disable"
    let refused = await #expect(throws: PostgresError.self) { _ = try await connect(plain) }
    #expect(refused?.state == "28000")
    let connection = try await connect(server.uri(user: "guarded:ge%3Ah%40im") + "?sslmode=require")
    // Longer than one record of TLS, and than every buffer.
    let text = String(repeating: "x", count: 1 << 22)
    let row = try await connection.perform(until: .now + .seconds(60)) { session in
      try session.query("SELECT ssl, $1::text FROM pg_stat_ssl WHERE pid = pg_backend_pid()", [.text(text)]).rows.first
    }
    #expect(row == ["t", text])
    await connection.close()
  }

  @Test(arguments: [
    "postgres://user:geheim@ss@host/db", "postgres://user:ge/heim@host/db", "postgres://user:12/heim@host/db",
    "postgres://user:geheim#1@host:port/db", "postgres://user:%zzgeheim@host/db", "postgres://user:geheim@[::1/db",
    "mysql://user:geheim@host/db", "postgres://user:geheim@host/db?no=such",
    "postgres://user:geheim@host/db?connect_timeout=x",
  ])
  func `what is wrong with a URI is said without its password`(uri: String) {
    let error = #expect(throws: PostgresError.self) { try PostgresAddress(uri: uri) }
    #expect(error?.description.contains("malformed") == true)
    #expect(error?.description.contains("heim") == false)
  }

  @Test func `an address shows neither user nor password`() throws {
    let address = try PostgresAddress(
      uri: "postgresql://user:geheim@one:1,two:2/db?application_name=x@y&sslmode=require")
    #expect("\(address)" == "postgres://one,two:1,2/db")
    var dumped = ""
    dump(address, to: &dumped)
    #expect(!dumped.contains("geheim") && !String(reflecting: address).contains("geheim"))
  }
}
