import AggregatorStorage
import CNATS

/// A durable consumer of JetStream, of which messages are asked for.
///
/// Its calls block: they are made on a ``BlockingQueue``.
final class PullSubscription: @unchecked Sendable {  // The client library locks what it does by itself.
  /// The connection.
  let connection: NATSConnection
  /// How long the server waits for an acknowledgement before it delivers a message again, in nanoseconds.
  let ackWait: Int64
  /// When the stream was made, in seconds since 1970-01-01 UTC: one that is made again begins its numbers again.
  let streamCreatedAt: Int64
  /// The subjects that it is about.
  let subjects: String
  /// The durable consumer as it was when it was found.
  let found: ConsumerPlan.Found
  private let pointer: OpaquePointer
  private let plan: ConsumerPlan

  /// Finds the durable consumer, or makes it.
  ///
  /// - Throws: ``NATSError`` when that cannot be done now, or the stream is not there; ``ProgramError`` when the consumer is
  ///   unfit.
  init(_ plan: ConsumerPlan, _ connection: NATSConnection) throws {
    self.plan = plan
    self.connection = connection
    streamCreatedAt = try plan.streamCreatedAt(connection)
    let found = try plan.find(connection) ?? plan.make(connection)
    self.found = found
    ackWait = found.ackWait
    subjects = found.subjects
    let subjects = found.subjects
    var pointer: OpaquePointer?
    var options = try StreamPlan.options()
    var code = jsErrCode(0)
    var settings = jsSubOptions()
    try check("subscribing", jsSubOptions_Init(&settings))
    let status = plan.stream.withCString { stream in
      plan.durable.withCString { durable in
        // Bound to it, so that the end of the subscription is not that of the consumer.
        settings.Stream = stream
        settings.Consumer = durable
        return js_PullSubscribe(&pointer, connection.context, subjects, durable, &options, &settings, &code)
      }
    }
    try check("subscribing to '\(plan.durable)' of '\(plan.stream)'", status, code: code)
    guard let pointer else { throw NATSError("subscribing", NATS_ERR) }
    self.pointer = pointer
  }

  deinit {
    natsSubscription_Destroy(pointer)
  }

  /// Asks for messages; returns as soon as there are some, or with none when the time is over.
  func fetch(atMost limit: Int, within milliseconds: Int64) throws -> [Delivery] {
    var list = natsMsgList(Msgs: nil, Count: 0)
    var code = jsErrCode(0)
    let status = natsSubscription_Fetch(&list, pointer, Int32(clamping: limit), milliseconds, &code)
    defer { natsMsgList_Destroy(&list) }
    if status == NATS_TIMEOUT { return [] }
    try check("fetching from '\(plan.durable)' of '\(plan.stream)'", status, code: code)
    return (0..<Int(list.Count)).compactMap { index in list.Msgs?[index].flatMap(Delivery.init) }
  }
}
