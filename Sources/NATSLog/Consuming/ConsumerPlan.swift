import AggregatorStorage
import CNATS

/// A durable consumer of JetStream as it is to be: made where it is missing, and taken as it is where it is there.
struct ConsumerPlan: Sendable {
  let stream: String
  let durable: String
  /// The subjects that are wanted; `nil` for all of the stream.
  let filter: String?
  /// In nanoseconds; only for one that is made.
  let ackWait: Int64
  /// Only for one that is made.
  let maximumUnacknowledged: Int

  struct Found: Sendable {
    let ackWait: Int64
    let subjects: String
    /// Messages that are not delivered to anybody yet.
    let pending: Int
    /// Messages that are delivered and not acknowledged.
    let unacknowledged: Int
    /// Deliveries so far.
    let deliveries: UInt64
  }

  /// What it is called where it is shown.
  func name(subjects: String) -> String {
    "\(stream)/\(durable)" + (subjects == ">" ? "" : " (\(subjects))")
  }

  private var place: String { "the durable consumer '\(durable)' of the stream '\(stream)'" }

  /// - Throws: ``NATSError``, also when there is no such stream.
  func streamCreatedAt(_ connection: NATSConnection) throws(NATSError) -> Int64 {
    var info: UnsafeMutablePointer<jsStreamInfo>?
    var options = try StreamPlan.options()
    var code = jsErrCode(0)
    try check(
      "looking at the stream '\(stream)'", js_GetStreamInfo(&info, connection.context, stream, &options, &code),
      code: code)
    defer { jsStreamInfo_Destroy(info) }
    return (info?.pointee.Created ?? 0) / 1_000_000_000
  }

  /// Looks at the consumer; `nil` where it is not there.
  ///
  /// - Throws: ``NATSError`` when that cannot be done now; ``ProgramError`` when it is unfit.
  func find(_ connection: NATSConnection) throws -> Found? {
    var info: UnsafeMutablePointer<jsConsumerInfo>?
    var options = try StreamPlan.options()
    var code = jsErrCode(0)
    let status = js_GetConsumerInfo(&info, connection.context, stream, durable, &options, &code)
    if let error = failure("looking at \(place)", status, code: code) {
      guard error.isNotFound else { throw error }
      return nil
    }
    defer { jsConsumerInfo_Destroy(info) }
    return try found(info)
  }

  /// Makes the consumer; who makes the same one at the same time gets the same one.
  func make(_ connection: NATSConnection) throws -> Found {
    var configuration = jsConsumerConfig()
    try check("making \(place)", jsConsumerConfig_Init(&configuration))
    configuration.AckPolicy = js_AckExplicit
    configuration.DeliverPolicy = js_DeliverAll
    configuration.AckWait = ackWait
    configuration.MaxAckPending = Int64(maximumUnacknowledged)
    configuration.MaxDeliver = -1
    var info: UnsafeMutablePointer<jsConsumerInfo>?
    var options = try StreamPlan.options()
    var code = jsErrCode(0)
    let status = withCStrings([durable, filter ?? ""]) { texts in
      configuration.Durable = texts[0]
      configuration.FilterSubject = filter == nil ? nil : texts[1]
      return js_AddConsumer(&info, connection.context, stream, &configuration, &options, &code)
    }
    try check("making \(place)", status, code: code)
    defer { jsConsumerInfo_Destroy(info) }
    return try found(info)
  }

  private func found(_ info: UnsafeMutablePointer<jsConsumerInfo>?) throws -> Found {
    guard let info = info?.pointee, let configuration = info.Config?.pointee else {
      throw NATSError("looking at \(place)", NATS_ERR, text: "the answer has no configuration")
    }
    guard configuration.DeliverSubject == nil else {
      throw ProgramError("\(place) is pushed to, and a pull consumer is needed: give another durable name")
    }
    guard configuration.AckPolicy == js_AckExplicit else {
      throw ProgramError(
        "\(place) does not take acknowledgements one by one (ack policy explicit): give another durable name")
    }
    let subjects = configuration.FilterSubject.map { String(cString: $0) } ?? ""
    if let filter, filter != subjects {
      throw ProgramError(
        "\(place) is about '\(subjects.isEmpty ? "all subjects" : subjects)', and '\(filter)' is asked for: give another "
          + "durable name, or that subject")
    }
    return Found(
      ackWait: configuration.AckWait, subjects: subjects.isEmpty ? ">" : subjects,
      pending: Int(clamping: info.NumPending), unacknowledged: Int(clamping: info.NumAckPending),
      deliveries: info.Delivered.Consumer)
  }
}
