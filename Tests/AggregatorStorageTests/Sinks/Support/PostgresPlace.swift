import AggregatorStorage
import AggregatorTestSupport
import Foundation
import Logging
import PostgresClient

extension SinkFixture {
  static let postgres = SinkFixture(
    name: "PostgreSQL", keepsIdentities: true, keepsLineBreaks: true, linesUpBatches: false
  ) {
    try await PostgresPlace()
  }
}

/// A database of its own on a server that the tests share.
private final class PostgresPlace: SinkPlace {
  private let uri: String
  private let server: PostgresServer

  init() async throws {
    server = try await PostgresServer.shared()
    uri = try await server.database()
  }

  func open() async throws -> any Sink {
    try PostgresSink(uri: uri, connections: 2, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
  }

  func stored(_ stream: StreamName) async throws -> [String] {
    guard try await server.sql("SELECT to_regclass('\"\(stream)\"') IS NOT NULL", uri: uri) == ["t"] else { return [] }
    // Rows come back a line each; a body may have several lines, so they come coded.
    return try await server.sql(
      "SELECT translate(encode(convert_to(body::text, 'UTF8'), 'base64'), E'\\n', '') FROM \"\(stream)\" ORDER BY id",
      uri: uri
    ).map { String(decoding: Data(base64Encoded: $0) ?? Data(), as: UTF8.self) }
  }

  func obstruct(_ stream: StreamName) async throws {
    try await server.sql("CREATE TABLE \"\(stream)\" (unfit INT)", uri: uri)
  }

  func clear(_ stream: StreamName) async throws {
    try await server.sql("DROP TABLE \"\(stream)\"", uri: uri)
  }

  func takeAway() async throws {
    let name = uri.split(separator: "/").last.map(String.init) ?? ""
    try await server.sql("DROP DATABASE \(name) WITH (FORCE)")
  }

  func end() async throws {
    let name = uri.split(separator: "/").last.map(String.init) ?? ""
    try await server.sql("DROP DATABASE IF EXISTS \(name) WITH (FORCE)")
  }
}
