import AggregatorTestSupport
import AsyncHTTPClient
import Foundation
import NIOCore
import NIOHTTP1
import Synchronization
import Testing

/// PostgreSQL goes away in every way while clients send: nothing acknowledged is lost, no answer hangs, and it goes on without a
/// restart.
@Suite("Outages", .serialized, .timeLimit(.minutes(60)))
final class OutageTests {
  private let folder: TemporaryFolder
  /// Where the program of the test listens.
  private let port = Mutex<Int?>(nil)

  init() throws {
    folder = try TemporaryFolder()
  }

  private func duringLoad(
    journal: Bool, _ disturb: (PostgresServer, String) async throws -> Void
  ) async throws -> Clients.Acknowledged {
    let server = try await PostgresServer()
    let uri = try await server.database()
    // A user as a program should have, and no superuser, who may do everything.
    try await server.sql("CREATE ROLE app LOGIN", uri: uri)
    try await server.sql("GRANT CREATE, USAGE ON SCHEMA public TO app", uri: uri)
    let database = uri.split(separator: "/").last.map(String.init) ?? ""
    var arguments = ["--to", server.uri(database, user: "app"), "--store-timeout", "2s", "--max-backoff", "200ms"]
    if journal { arguments += ["--journal", folder.file("journal.db"), "--answer-timeout", "1s"] }
    let program = try RestartableProgram(arguments)
    port.withLock { $0 = program.port }
    // 202 where there is a journal; never anything else but 200 and 503.
    let result = try await underLoad(program, statuses: journal ? [200, 202, 503] : [200, 503]) { _ in
      try await disturb(server, uri)
    }
    expectOnce(result.identities, in: try await server.sql("SELECT identity FROM messages", uri: uri))
    return result
  }

  @Test(arguments: [false, true])
  func `stopped and started again`(journal: Bool) async throws {
    _ = try await duringLoad(journal: journal) { server, _ in
      try await server.stop()
      try await Task.sleep(for: .seconds(2))
      try await server.start()
    }
  }

  @Test(arguments: [false, true])
  func `frozen, and thawed`(journal: Bool) async throws {
    _ = try await duringLoad(journal: journal) { server, _ in
      try server.freeze()
      try await Task.sleep(for: .seconds(4))
      try server.thaw()
    }
  }

  @Test(arguments: [false, true])
  func `killed`(journal: Bool) async throws {
    _ = try await duringLoad(journal: journal) { server, _ in
      try await server.crash()
      try await Task.sleep(for: .seconds(1))
      try await server.start()
    }
  }

  @Test(arguments: [false, true])
  func `permission gone, and given back`(journal: Bool) async throws {
    _ = try await duringLoad(journal: journal) { server, uri in
      try await server.sql("REVOKE INSERT ON messages FROM app", uri: uri)
      try await Task.sleep(for: .seconds(2))
      try await server.sql("GRANT INSERT ON messages TO app", uri: uri)
    }
  }

  @Test func `a row that the owner's constraint refuses is told, and those beside it are stored`() async throws {
    _ = try await duringLoad(journal: false) { server, uri in
      // One client's messages are refused from now on; the others' share batches with them.
      try await server.sql("ALTER TABLE messages ADD CHECK (body->>'refused' IS NULL)", uri: uri)
      for number in 0..<20 {
        let status = try await post(#"{"refused":\#(number)}"#, to: try #require(port.withLock { $0 }))
        #expect(status == 422)
      }
    }
  }

  private func post(_ body: String, to port: Int) async throws -> UInt {
    var request = HTTPClientRequest(url: "http://127.0.0.1:\(port)/v1/messages")
    request.method = .POST
    request.headers.add(name: "Content-Type", value: "application/json")
    request.body = .bytes(ByteBuffer(string: body))
    return try await HTTPClient.shared.execute(request, timeout: .seconds(20)).status.code
  }

  @Test func `a view in the table's place, and the table back`() async throws {
    _ = try await duringLoad(journal: true) { server, uri in
      try await server.sql(
        "BEGIN; ALTER TABLE messages RENAME TO hidden; CREATE VIEW messages AS SELECT * FROM hidden; COMMIT", uri: uri)
      try await Task.sleep(for: .seconds(2))
      try await server.sql("BEGIN; DROP VIEW messages; ALTER TABLE hidden RENAME TO messages; COMMIT", uri: uri)
    }
  }
}
