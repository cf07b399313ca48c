import AggregatorStorage
import AggregatorTestSupport
import CNATS
import Foundation
import GRDB
import Logging
import Synchronization

@testable import NATSLog

/// A look into JetStream with the client library itself, past the code under test.
func inspect<Value: Sendable>(
  _ address: NATSAddress, _ look: @escaping @Sendable (NATSConnection) throws -> Value
) async throws -> Value {
  try await BlockingQueue(label: "test").run {
    try look(NATSConnection(address, name: "test", logger: quiet))
  }
}

/// Messages in a stream, and the server that leads it.
func state(of stream: String, at address: NATSAddress) async throws -> (messages: Int, leader: String, replicas: Int) {
  try await inspect(address) { connection in
    var info: UnsafeMutablePointer<jsStreamInfo>?
    var code = jsErrCode(0)
    try check("looking", js_GetStreamInfo(&info, connection.context, stream, nil, &code), code: code)
    defer { jsStreamInfo_Destroy(info) }
    guard let found = info?.pointee else { throw NATSError("looking", NATS_ERR) }
    let leader = found.Cluster?.pointee.Leader.map { String(cString: $0) } ?? ""
    return (Int(found.State.Msgs), leader, Int(found.Config.pointee.Replicas))
  }
}

/// Payloads of a stream, in their order.
func payloads(of stream: String, at address: NATSAddress) async throws -> [String] {
  let count = try await state(of: stream, at: address).messages
  return try await inspect(address) { connection in
    try (0..<count).map { index in
      var message: OpaquePointer?
      var code = jsErrCode(0)
      try check("reading", js_GetMsg(&message, connection.context, stream, UInt64(index + 1), nil, &code), code: code)
      defer { natsMsg_Destroy(message) }
      return String(
        decoding: UnsafeRawBufferPointer(start: natsMsg_GetData(message), count: Int(natsMsg_GetDataLength(message))),
        as: UTF8.self)
    }
  }
}

/// Makes a stream as an operator would; in memory, with these subjects.
func makeStream(_ name: String, subject: String, inMemory: Bool, at address: NATSAddress) async throws {
  try await inspect(address) { connection in
    var configuration = jsStreamConfig()
    _ = jsStreamConfig_Init(&configuration)
    configuration.Storage = inMemory ? js_MemoryStorage : js_FileStorage
    var code = jsErrCode(0)
    let status = withCStrings([name, subject]) { texts in
      configuration.Name = texts[0]
      configuration.Subjects = texts + 1
      configuration.SubjectsLen = 1
      return js_AddStream(nil, connection.context, &configuration, nil, &code)
    }
    try check("making", status, code: code)
  }
}

/// Publishes as a foreign program does: no headers.
func publish(_ bytes: [UInt8], to subject: String, at address: NATSAddress) async throws {
  try await inspect(address) { connection in
    var code = jsErrCode(0)
    try check(
      "publishing",
      js_Publish(nil, connection.context, subject, bytes, Int32(bytes.count), nil, &code), code: code)
  }
}

let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

func numbered(_ range: Range<Int>, identity: Bool = true) -> [Message] {
  range.map { Message(body: "\($0)", receivedAt: Int64($0), identity: identity ? "id-\($0)" : nil) }
}

/// Waits until servers have found each other and JetStream answers.
func ready(_ sink: JetStreamSink) async throws {
  try await eventually("JetStream works") { (try? await sink.prepare()) != nil }
}

/// Bodies in a table of a SQLite file, as another program sees them.
func bodies(in stream: String, of path: String) throws -> [String] {
  guard FileManager.default.fileExists(atPath: path) else { return [] }
  return try DatabaseQueue(path: path).read { database in
    guard try database.tableExists(stream) else { return [] }
    return try String.fetchAll(database, sql: "SELECT body FROM \"\(stream)\" ORDER BY id")
  }
}

func deleteStream(_ name: String, at address: NATSAddress) async throws {
  try await inspect(address) { connection in
    var code = jsErrCode(0)
    try check("deleting", js_DeleteStream(connection.context, name, nil, &code), code: code)
  }
}

extension JetStreamConsumer {
  /// Messages that are taken and not settled.
  var held: Int { state.withLock { $0.held.count } }

  /// As if its process were killed.
  func abandon() {
    let (timer, connection) = state.withLock { ($0.timer.take(), $0.connection) }
    timer?.cancel()
    connection?.close()
  }
}

extension ConsumerPlan.Found {
  /// Messages that are not acknowledged.
  var behind: Int { pending + unacknowledged }
}
