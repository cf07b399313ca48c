import AggregatorStorage
import AggregatorTestSupport
import Synchronization
import Testing

/// Where a sink of some kind stores, seen from both sides: a database, a folder, a server, a pipe.
protocol SinkPlace: Sendable {
  /// Opens a sink on it; again after it was closed.
  func open() async throws -> any Sink
  /// The bodies in a stream, in order, as any other program reads them; none where the stream was never written to.
  func stored(_ stream: StreamName) async throws -> [String]
  /// Lets writes to a stream, which was never written to, fail.
  func obstruct(_ stream: StreamName) async throws
  /// Undoes `obstruct`.
  func clear(_ stream: StreamName) async throws
  /// Lets the sink be of no use, as `check` should find; nothing follows but `end`.
  func takeAway() async throws
  /// Tears it down.
  func end() async throws
}

/// A kind of sink, for the tests that all of them pass.
///
/// A new kind is added by an extension, and in ``all``.
struct SinkFixture: Sendable, CustomTestStringConvertible {
  var name: String
  /// Whether a message whose identity is there already is passed over.
  var keepsIdentities = false
  /// Whether line breaks between values stay; otherwise they become spaces.
  var keepsLineBreaks = false
  /// Whether `stored` of a stream has no messages of others.
  var keepsStreamsApart = true
  /// Whether batches of one stream that are written at the same time lie one behind the other; with several connections they may
  /// be interleaved, each in its order.
  var linesUpBatches = true
  /// Whether ``SinkPlace/obstruct(_:)`` can do what it says.
  var canFail = true
  var make: @Sendable () async throws -> any SinkPlace

  var testDescription: String { name }

  static let all: [SinkFixture] = [.sqlite, .postgres, .file, .gzip, .http, .standardOutput]

  /// A message as it should come back.
  func expected(_ body: String) -> String {
    keepsLineBreaks
      ? body
      : String(String.UnicodeScalarView(body.unicodeScalars.map { "\r\n".unicodeScalars.contains($0) ? " " : $0 }))
  }

  /// Makes a place, and tears it down behind `body`.
  func use(_ body: (any SinkPlace) async throws -> Void) async throws {
    let place = try await make()
    do {
      try await body(place)
    } catch {
      try? await place.end()
      throw error
    }
    try await place.end()
  }
}

private let time = Atomic<Int64>(1_795_590_000_000_000)

/// Messages as they come in: no two at the same time.
func messages(_ bodies: [String]) -> [Message] {
  bodies.map { Message(body: $0, receivedAt: time.add(1, ordering: .relaxed).newValue) }
}
