import AggregatorStorage
import Batching
import Foundation
import HTTPTypes
import Hummingbird
import NIOCore

/// What a request is answered with: it knows its connection.
struct MessagesContext: RequestContext {
  var coreContext: CoreRequestContextStorage
  let channel: any Channel

  init(source: ApplicationRequestContextSource) {
    coreContext = .init(source: source)
    channel = source.channel
  }
}

/// Takes requests: reads the body, finds the messages in it, has them stored, and answers after the commit.
struct MessagesResponder: HTTPResponder {
  typealias Context = MessagesContext

  let intake: RequestIntake
  let maximumBody: Int

  func respond(to request: Request, context: Context) async throws -> Response {
    switch request.uri.path {
    case "/v1/messages":
      guard request.method == .post else { return Answer.wrongMethod(request.method, allowed: "POST") }
      return try await store(request, context.channel)
    case "/livez":
      guard request.method == .get else { return Answer.wrongMethod(request.method, allowed: "GET") }
      return Answer.alive()
    default:
      return Answer.notFound(request.uri.path)
    }
  }

  private func store(_ request: Request, _ channel: any Channel) async throws -> Response {
    guard let format = Self.format(of: request.headers[.contentType]) else {
      return Answer.unsupportedType(request.headers[.contentType])
    }
    if let length = request.headers[.contentLength].flatMap({ Int($0) }), length > maximumBody {
      return Answer.tooLarge(limit: maximumBody)
    }
    if intake.isClosing { return Answer.closing() }
    if request.headers[.expect]?.lowercased() == "100-continue" {
      try await channel.triggerUserOutboundEvent(ConnectionHandler.GoOn())
    }
    // Every byte that is held is counted, those of a body that is still being read too.
    var body = ByteBuffer()
    defer { intake.giveBack(bytes: body.readableBytes) }
    for try await var part in request.body {
      guard body.readableBytes + part.readableBytes <= maximumBody else { return Answer.tooLarge(limit: maximumBody) }
      guard intake.hold(bytes: part.readableBytes) else {
        return Answer.unavailable("as many bytes are held as may be", closes: true)
      }
      body.writeBuffer(&part)
    }
    let messages: [Message]
    do {
      messages = try Message.all(in: body.readableBytesView, format: format)
    } catch {
      return Answer.malformed(error)
    }
    if messages.isEmpty, format == .newlineDelimited {
      return Answer.malformed(MessageSyntaxError(line: 1, column: 1, reason: "the body is empty"))
    }
    if messages.count > intake.capacity { return Answer.tooMany(messages.count, capacity: intake.capacity) }
    switch await intake.store(messages) {
    case .stored: return Answer.stored(messages.count)
    case .full: return Answer.unavailable("as many messages are held as may be (--capacity)")
    case .closing: return Answer.closing()
    case .failed(let error):
      let isRefusal = (error as? any RetryAdvising)?.isRetryable == false
      return isRefusal
        ? Answer.refused() : Answer.unavailable("storing failed, the aggregator's log says why")
    }
  }

  /// The format that a media type stands for, whatever its parameters.
  static func format(of contentType: String?) -> MessageFormat? {
    guard let contentType else { return nil }
    let mediaType = contentType.prefix { $0 != ";" }.trimmingCharacters(in: .whitespaces).lowercased()
    switch mediaType {
    case "application/json", "text/json": return .json
    case "application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines":
      return .newlineDelimited
    default: return nil
    }
  }
}
