import HTTPTypes
import NIOCore
import NIOHTTPTypes
import Synchronization

/// Connections that are open now.
final class ConnectionCount: Sendable {
  private let count = Atomic(0)

  var current: Int { count.load(ordering: .relaxed) }

  /// Returns how many there are then.
  @discardableResult
  func add(_ difference: Int) -> Int {
    count.add(difference, ordering: .relaxed).newValue
  }
}

/// How many clients there may be, and how long each may take.
struct ConnectionLimits: Sendable {
  /// Open connections; a request on one more is answered 503, and the connection closed.
  var connections = Int.max
  /// From the connection to the whole head of its first request.
  ///
  /// The heads of later requests have the idle time of the connection.
  var header: TimeAmount
  /// For a body, or for each `part` bytes of one.
  var body: TimeAmount
  /// Bytes.
  var part: Int
  /// How long a client may take to read the last answer, or to finish its request when the server stops.
  var patience = TimeAmount.seconds(2)
}

/// What Hummingbird leaves to its users on each connection.
///
/// - `Expect: 100-continue` is answered when the responder is about to read the body (``GoOn``), so that a client such as curl
///   does not wait a second before it sends it, and does not send it at all where it is refused by its headers.
/// - After an answer that says `Connection: close` the connection is closed, and what the client goes on sending is
///   thrown away unread. Closing at once could reset the connection before the client has read the answer, so first the
///   sending half is closed, and the rest a moment later.
/// - A client that is slow to send is cut: without a word before its first head is whole, with 408 in a body. Time in which
///   nobody reads, because what came before is being stored, does not count.
/// - A connection beyond the limit is answered 503 at its first request.
/// - A client that is slow to send its request cannot hold up the end: when the server stops, it has a moment to finish.
final class ConnectionHandler: ChannelDuplexHandler, RemovableChannelHandler {
  typealias InboundIn = HTTPRequestPart
  typealias InboundOut = HTTPRequestPart
  typealias OutboundIn = HTTPResponsePart
  typealias OutboundOut = HTTPResponsePart

  /// The responder's word, sent down the channel, that the client should send the body.
  struct GoOn: Sendable {}

  private let limits: ConnectionLimits
  private let count: ConnectionCount

  /// Whether there were as many connections as may be when it came.
  private var isSurplus = false
  private var isReadingRequest = false
  private var hasAnswered = false
  private var closesAfterAnswer = false
  private var isClosing = false
  /// Whether somebody waits for bytes.
  private var isReadWanted = false
  private var headTimer: Scheduled<Void>?
  private var bodyTimer: Scheduled<Void>?
  /// Bytes of the body since its timer was set.
  private var bodyBytes = 0

  init(limits: ConnectionLimits, count: ConnectionCount) {
    self.limits = limits
    self.count = count
  }

  // MARK: The connection

  func channelActive(context: ChannelHandlerContext) {
    isSurplus = count.add(1) > limits.connections
    let channel = context.channel
    headTimer = context.eventLoop.scheduleTask(in: limits.header) { channel.close(promise: nil) }
    context.fireChannelActive()
  }

  func channelInactive(context: ChannelHandlerContext) {
    count.add(-1)
    headTimer?.cancel()
    bodyTimer?.cancel()
    context.fireChannelInactive()
  }

  // MARK: Requests

  func read(context: ChannelHandlerContext) {
    isReadWanted = true
    context.read()
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    isReadWanted = false
    guard !isClosing else { return }
    switch unwrapInboundIn(data) {
    case .head:
      headTimer?.cancel()
      headTimer = nil
      isReadingRequest = true
      hasAnswered = false
      bodyBytes = 0
      if isSurplus {
        answer(.serviceUnavailable, Answer.tooManyConnections(limit: limits.connections), [.retryAfter: "1"], context)
        return
      }
    case .body(let bytes):
      bodyBytes += bytes.readableBytes
      if bodyBytes >= limits.part, bodyTimer != nil {
        bodyBytes = 0
        setBodyTimer(context)
      }
    case .end:
      isReadingRequest = false
      bodyTimer?.cancel()
      bodyTimer = nil
    }
    context.fireChannelRead(data)
  }

  func channelReadComplete(context: ChannelHandlerContext) {
    // A request that has come whole, as most do, costs no timer.
    if isReadingRequest, bodyTimer == nil { setBodyTimer(context) }
    context.fireChannelReadComplete()
  }

  private func setBodyTimer(_ context: ChannelHandlerContext) {
    bodyTimer?.cancel()
    let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
    bodyTimer = context.eventLoop.scheduleTask(in: limits.body) {
      let (handler, context) = bound.value
      handler.bodyTimedOut(context)
    }
  }

  private func bodyTimedOut(_ context: ChannelHandlerContext) {
    bodyTimer = nil
    guard isReadingRequest, !isClosing else { return }
    guard isReadWanted else {
      setBodyTimer(context)
      return
    }
    guard !hasAnswered else {
      context.close(promise: nil)
      return
    }
    answer(.requestTimeout, Answer.bodyTooSlow(within: limits.body.nanoseconds / 1_000_000_000), [:], context)
  }

  /// Answers in place of the responder, and closes the connection.
  private func answer(
    _ status: HTTPResponse.Status, _ text: String, _ fields: HTTPFields, _ context: ChannelHandlerContext
  ) {
    let body = ByteBuffer(string: text)
    var fields = fields
    fields[.contentType] = "application/json"
    fields[.contentLength] = "\(body.readableBytes)"
    fields[.connection] = "close"
    let head = HTTPResponse(status: status, headerFields: fields)
    for part in [HTTPResponsePart.head(head), .body(body), .end(nil)] {
      write(context: context, data: wrapOutboundOut(part), promise: nil)
    }
  }

  // MARK: Answers

  func triggerUserOutboundEvent(context: ChannelHandlerContext, event: Any, promise: EventLoopPromise<Void>?) {
    if event is GoOn {
      context.writeAndFlush(wrapOutboundOut(.head(HTTPResponse(status: .continue))), promise: promise)
    } else {
      context.triggerUserOutboundEvent(event, promise: promise)
    }
  }

  func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
    guard !isClosing else {
      // The client has had its last answer.
      promise?.fail(ChannelError.outputClosed)
      return
    }
    switch unwrapOutboundIn(data) {
    case .head(let response):
      hasAnswered = true
      if response.headerFields[.connection]?.lowercased() == "close" { closesAfterAnswer = true }
      context.write(data, promise: promise)
    case .end where closesAfterAnswer:
      isClosing = true
      let written = promise ?? context.eventLoop.makePromise()
      let channel = context.channel
      let patience = limits.patience
      written.futureResult.whenComplete { _ in
        channel.close(mode: .output, promise: nil)
        channel.eventLoop.scheduleTask(in: patience) { channel.close(promise: nil) }
      }
      context.writeAndFlush(data, promise: written)
    case .body, .end:
      context.write(data, promise: promise)
    }
  }

  // MARK: The end

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    if isClosing, case .some(.inputClosed) = event as? ChannelEvent {
      context.close(promise: nil)
      return
    }
    if event is ChannelShouldQuiesceEvent, isReadingRequest {
      let handler = NIOLoopBound(self, eventLoop: context.eventLoop)
      let channel = context.channel
      context.eventLoop.scheduleTask(in: limits.patience) {
        if handler.value.isReadingRequest { channel.close(promise: nil) }
      }
    }
    context.fireUserInboundEventTriggered(event)
  }
}
