import AggregatorStorage
import CNATS

/// A stream of JetStream as it is to be: made where it is missing, and looked at where it is there.
struct StreamPlan: Sendable {
  let name: String
  /// How many servers keep it; `nil` for 1 when it is made, and as many as there are when it is there.
  let replicas: Int?
  /// How long JetStream knows a repeat by its `Nats-Msg-Id`, in nanoseconds; only for one that is made.
  let duplicates: Int64

  /// All of its subjects.
  var subjects: String { "\(name).>" }

  func subject(of stream: StreamName) -> String { "\(name).\(stream)" }

  /// How long a request to JetStream may take, in milliseconds.
  static let patience: Int64 = 3_000

  /// Makes sure that the stream is there and fit.
  ///
  /// - Returns: The most bytes of a message, headers included, that server and stream take; and whether it was made.
  /// - Throws: ``NATSError`` when that cannot be found out now; ``ProgramError`` when the stream is unfit.
  func ensure(_ connection: NATSConnection) throws -> (maximumSize: Int, isNew: Bool) {
    if let size = try maximumSize(connection) { return (min(size, connection.maximumPayload), false) }
    try make(connection)
    // Another member may have been faster.
    guard let size = try maximumSize(connection) else {
      throw NATSError("making the stream '\(name)'", NATS_NOT_FOUND, text: "it was made, and is not there")
    }
    return (min(size, connection.maximumPayload), true)
  }

  /// Looks at the stream; returns the most bytes of a message, `nil` where there is no such stream.
  func maximumSize(_ connection: NATSConnection) throws -> Int? {
    var info: UnsafeMutablePointer<jsStreamInfo>?
    var options = try Self.options()
    var code = jsErrCode(0)
    let status = js_GetStreamInfo(&info, connection.context, name, &options, &code)
    if let error = failure("looking at the stream '\(name)'", status, code: code) {
      guard error.isNotFound else { throw error }
      return nil
    }
    defer { jsStreamInfo_Destroy(info) }
    guard let configuration = info?.pointee.Config?.pointee else {
      throw NATSError("looking at the stream '\(name)'", NATS_ERR, text: "the answer has no configuration")
    }
    try checkFit(configuration)
    return configuration.MaxMsgSize > 0 ? Int(configuration.MaxMsgSize) : Int.max
  }

  private func checkFit(_ found: jsStreamConfig) throws(ProgramError) {
    let place = "the stream '\(name)' of JetStream"
    let all = (0..<Int(found.SubjectsLen)).compactMap { found.Subjects?[$0].map { String(cString: $0) } }
    guard all.contains(where: { $0 == subjects || $0 == ">" }) else {
      throw ProgramError(
        "\(place) takes the subjects \(all.joined(separator: ", ")), and \(subjects) is written: add that to it, or name "
          + "another stream")
    }
    guard found.Storage == js_FileStorage else {
      throw ProgramError("\(place) keeps messages in memory, where they are not durable: name one with file storage")
    }
    guard !found.NoAck else {
      throw ProgramError("\(place) acknowledges nothing (no_ack): change that, or name another stream")
    }
    guard !found.Sealed else { throw ProgramError("\(place) is sealed and takes nothing: name another stream") }
    if let replicas, found.Replicas != replicas {
      throw ProgramError(
        "\(place) has \(found.Replicas) replicas, and replicas=\(replicas) is asked for: change the stream (nats stream "
          + "edit \(name) --replicas \(replicas)), or leave replicas out")
    }
  }

  private func make(_ connection: NATSConnection) throws(NATSError) {
    var configuration = jsStreamConfig()
    try check("making the stream '\(name)'", jsStreamConfig_Init(&configuration))
    configuration.Storage = js_FileStorage
    configuration.Replicas = Int64(replicas ?? 1)
    configuration.Duplicates = duplicates
    var options = try Self.options()
    var code = jsErrCode(0)
    let status = withCStrings([subjects]) { list in
      name.withCString { name in
        configuration.Name = name
        configuration.Subjects = list
        configuration.SubjectsLen = 1
        return js_AddStream(nil, connection.context, &configuration, &options, &code)
      }
    }
    try check("making the stream '\(name)'", status, code: code)
  }

  static func options() throws(NATSError) -> jsOptions {
    var options = jsOptions()
    try check("asking JetStream", jsOptions_Init(&options))
    options.Wait = patience
    return options
  }
}
