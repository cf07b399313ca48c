import HTTPTypes
import NIOCore
import NIOHTTPTypes

/// What Hummingbird leaves to its users on each connection.
///
/// - `Expect: 100-continue` is answered, so that a client such as curl does not wait a second before it sends a large body;
///   not where the body is too large anyway, because then the final answer comes first.
/// - After an answer that says `Connection: close` the connection is closed, and what the client goes on sending is
///   thrown away unread. Closing at once could reset the connection before the client has read the answer, so first the
///   sending half is closed, and the rest a moment later.
final class ConnectionHandler: ChannelDuplexHandler, RemovableChannelHandler {
  typealias InboundIn = HTTPRequestPart
  typealias InboundOut = HTTPRequestPart
  typealias OutboundIn = HTTPResponsePart
  typealias OutboundOut = HTTPResponsePart

  private let maximumBody: Int
  private var closesAfterAnswer = false
  private var isClosing = false

  /// How long a client may take to read the last answer.
  private static let patience = TimeAmount.seconds(2)

  init(maximumBody: Int) {
    self.maximumBody = maximumBody
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    guard !isClosing else { return }
    if case .head(let request) = unwrapInboundIn(data),
      let expect = request.headerFields[.expect], expect.lowercased() == "100-continue",
      request.headerFields[.contentLength].flatMap({ Int($0) }) ?? 0 <= maximumBody
    {
      context.writeAndFlush(wrapOutboundOut(.head(HTTPResponse(status: .continue))), promise: nil)
    }
    context.fireChannelRead(data)
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
    } else {
      context.fireUserInboundEventTriggered(event)
    }
  }
}
