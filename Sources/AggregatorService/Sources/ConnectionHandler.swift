import HTTPTypes
import NIOCore
import NIOHTTPTypes

/// What Hummingbird leaves to its users on each connection.
///
/// - `Expect: 100-continue` is answered when the responder is about to read the body (``GoOn``), so that a client such as curl
///   does not wait a second before it sends it, and does not send it at all where it is refused by its headers.
/// - After an answer that says `Connection: close` the connection is closed, and what the client goes on sending is
///   thrown away unread. Closing at once could reset the connection before the client has read the answer, so first the
///   sending half is closed, and the rest a moment later.
/// - A client that is slow to send its request cannot hold up the end: when the server stops, it has a moment to finish.
final class ConnectionHandler: ChannelDuplexHandler, RemovableChannelHandler {
  typealias InboundIn = HTTPRequestPart
  typealias InboundOut = HTTPRequestPart
  typealias OutboundIn = HTTPResponsePart
  typealias OutboundOut = HTTPResponsePart

  /// The responder's word, sent down the channel, that the client should send the body.
  struct GoOn: Sendable {}

  private var isReadingRequest = false
  private var closesAfterAnswer = false
  private var isClosing = false

  /// How long a client may take to read the last answer, or to finish its request when the server stops.
  private static let patience = TimeAmount.seconds(2)

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    guard !isClosing else { return }
    switch unwrapInboundIn(data) {
    case .head: isReadingRequest = true
    case .end: isReadingRequest = false
    case .body: break
    }
    context.fireChannelRead(data)
  }

  func triggerUserOutboundEvent(context: ChannelHandlerContext, event: Any, promise: EventLoopPromise<Void>?) {
    if event is GoOn {
      context.writeAndFlush(wrapOutboundOut(.head(HTTPResponse(status: .continue))), promise: promise)
    } else {
      context.triggerUserOutboundEvent(event, promise: promise)
    }
  }

  func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
    switch unwrapOutboundIn(data) {
    case .head(let response):
      if response.headerFields[.connection]?.lowercased() == "close" { closesAfterAnswer = true }
      context.write(data, promise: promise)
    case .end where closesAfterAnswer && !isClosing:
      isClosing = true
      let written = promise ?? context.eventLoop.makePromise()
      let channel = context.channel
      written.futureResult.whenComplete { _ in
        channel.close(mode: .output, promise: nil)
        channel.eventLoop.scheduleTask(in: Self.patience) { channel.close(promise: nil) }
      }
      context.writeAndFlush(data, promise: written)
    case .body, .end:
      context.write(data, promise: promise)
    }
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    if isClosing, case .some(.inputClosed) = event as? ChannelEvent {
      context.close(promise: nil)
      return
    }
    if event is ChannelShouldQuiesceEvent, isReadingRequest {
      let handler = NIOLoopBound(self, eventLoop: context.eventLoop)
      let channel = context.channel
      context.eventLoop.scheduleTask(in: Self.patience) {
        if handler.value.isReadingRequest { channel.close(promise: nil) }
      }
    }
    context.fireUserInboundEventTriggered(event)
  }
}
