import CNATS
import Logging
import Synchronization

/// A connection to one of several servers, which is made again for ever when it breaks.
///
/// Its calls block: they are made on a ``BlockingQueue``. Whoever holds it may use its pointers; they are let go of with it.
final class NATSConnection: @unchecked Sendable {  // The client library locks what it does by itself.
  /// The connection of the client library.
  let pointer: OpaquePointer
  /// Its context of JetStream.
  let context: OpaquePointer
  /// What becomes of messages that are published through it.
  let acknowledgements: Acknowledgements
  let hasPublished = Atomic(false)
  private let events: UInt
  private let acknowledged: UInt

  /// Connects.
  ///
  /// - Parameters:
  ///   - address: Where to, and as whom.
  ///   - name: What operators see of it at the server.
  ///   - logger: Where the end and the return of the connection are told.
  /// - Throws: ``NATSError`` when none of the servers takes it within two seconds each.
  init(_ address: NATSAddress, name: String, logger: Logger) throws(NATSError) {
    var options: OpaquePointer?
    try check("connecting to \(address)", natsOptions_Create(&options))
    defer { natsOptions_Destroy(options) }
    events = Callbacks.events.insert(ConnectionEvents(address: address.description, logger: logger))
    acknowledgements = Acknowledgements()
    acknowledged = Callbacks.acknowledgements.insert(acknowledgements)
    var connection: OpaquePointer?
    var context: OpaquePointer?
    do throws(NATSError) {
      try Self.set(options, address, name: name)
      try Self.watch(options, events)
      try check("connecting to \(address)", natsConnection_Connect(&connection, options))
      var settings = jsOptions()
      try check("connecting to \(address)", jsOptions_Init(&settings))
      settings.PublishAsync.AckHandler = { Acknowledgements.arrived($1, $2, $3, $4) }
      settings.PublishAsync.AckHandlerClosure = UnsafeMutableRawPointer(bitPattern: acknowledged)
      try check("connecting to \(address)", natsConnection_JetStream(&context, connection, &settings))
    } catch {
      natsConnection_Destroy(connection)
      Callbacks.events.remove(events)
      Callbacks.acknowledgements.remove(acknowledged)
      throw error
    }
    guard let connection, let context else {
      preconditionFailure("libnats says that it is connected, and has no connection")
    }
    pointer = connection
    self.context = context
  }

  deinit {
    jsCtx_Destroy(context)
    natsConnection_Destroy(pointer)
    // A callback that comes after this finds nothing.
    Callbacks.events.remove(events)
    Callbacks.acknowledgements.remove(acknowledged)
  }

  /// Whether it will never work again, such as after the servers have refused to let it in.
  var isClosed: Bool { natsConnection_IsClosed(pointer) }

  /// Whether it is connected now.
  var isConnected: Bool { natsConnection_Status(pointer) == NATS_CONN_STATUS_CONNECTED }

  /// The most bytes of a message with its headers that the server takes.
  var maximumPayload: Int { Int(natsConnection_GetMaxPayload(pointer)) }

  /// Sends what is buffered, and waits until the server has it.
  func flush(within milliseconds: Int64) throws(NATSError) {
    try check("reaching the server of NATS", natsConnection_FlushTimeout(pointer, milliseconds))
  }

  /// Publishes without JetStream and without an answer.
  func publish(_ text: StaticString, to subject: String) throws(NATSError) {
    try check("acknowledging", natsConnection_Publish(pointer, subject, text.utf8Start, Int32(text.utf8CodeUnitCount)))
  }

  /// Ends it; nothing is sent any more.
  func close() {
    natsConnection_Close(pointer)
  }

  private static func set(_ options: OpaquePointer?, _ address: NATSAddress, name: String) throws(NATSError) {
    let what = "connecting to \(address)"
    try check(what, withCStrings(address.servers) { natsOptions_SetServers(options, $0, Int32(address.servers.count)) })
    try check(what, natsOptions_SetName(options, name))
    try check(what, natsOptions_SetTimeout(options, 2_000))
    try check(what, natsOptions_SetMaxReconnect(options, -1))
    try check(what, natsOptions_SetReconnectWait(options, 250))
    try check(what, natsOptions_SetReconnectJitter(options, 250, 500))
    // A server that is gone without a word is noticed within this time twice.
    try check(what, natsOptions_SetPingInterval(options, 5_000))
    try check(what, natsOptions_SetMaxPingsOut(options, 2))
    try check(what, natsOptions_SetWriteDeadline(options, 5_000))
    if let user = address.user { try check(what, natsOptions_SetUserInfo(options, user, address.password ?? "")) }
    if let token = address.token { try check(what, natsOptions_SetToken(options, token)) }
    if let file = address.credentials {
      try check(what, natsOptions_SetUserCredentialsFromFiles(options, file, nil))
    }
    guard let tls = address.tls else { return }
    try check(what, natsOptions_SetSecure(options, true))
    if let file = tls.authorities { try check(what, natsOptions_LoadCATrustedCertificates(options, file)) }
    if let certificate = tls.certificate {
      try check(what, natsOptions_LoadCertificatesChain(options, certificate, tls.key))
    }
  }

  private static func watch(_ options: OpaquePointer?, _ id: UInt) throws(NATSError) {
    let closure = UnsafeMutableRawPointer(bitPattern: id)
    let what = "connecting"
    try check(what, natsOptions_SetDisconnectedCB(options, { ConnectionEvents.of($1)?.disconnected() }, closure))
    try check(what, natsOptions_SetReconnectedCB(options, { ConnectionEvents.of($1)?.reconnected() }, closure))
    try check(what, natsOptions_SetClosedCB(options, { ConnectionEvents.of($1)?.closed() }, closure))
    // Without one the library writes to standard error.
    try check(what, natsOptions_SetErrorHandler(options, { ConnectionEvents.of($3)?.failed($2) }, closure))
  }
}

/// Tells what happens to a connection.
final class ConnectionEvents: Sendable {
  private let address: String
  private let logger: Logger

  init(address: String, logger: Logger) {
    self.address = address
    self.logger = logger
  }

  static func of(_ closure: UnsafeMutableRawPointer?) -> ConnectionEvents? {
    Callbacks.events[UInt(bitPattern: closure)]
  }

  func disconnected() {
    logger.warning("the connection to NATS broke, and is being made again", metadata: ["address": "\(address)"])
  }

  func reconnected() {
    logger.notice("the connection to NATS is there again", metadata: ["address": "\(address)"])
  }

  func closed() {
    logger.debug("the connection to NATS is closed", metadata: ["address": "\(address)"])
  }

  func failed(_ status: natsStatus) {
    let text = natsStatus_GetText(status).map { String(cString: $0) } ?? "error"
    logger.warning("NATS reports an error", metadata: ["address": "\(address)", "error": "\(text)"])
  }
}
