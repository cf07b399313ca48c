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

/// Takes requests: reads the body, finds the messages in it, has them stored, and answers.
struct MessagesResponder: HTTPResponder {
  typealias Context = MessagesContext

  let intake: Intake
  let options: ProgramOptions
  let tokens: any Authorizing

  func respond(to request: Request, context: Context) async throws -> Response {
    let path = request.uri.path
    if path == "/v1/messages" { return try await post(request, to: options.stream, context.channel) }
    if let name = Self.streamName(in: path) {
      do {
        return try await post(request, to: try StreamName(name), context.channel)
      } catch let error as ProgramError {
        return Answer.error(.notFound, error.description)
      }
    }
    guard path == "/livez" else { return Answer.notFound(path) }
    guard request.method == .get || request.method == .head else {
      return Answer.wrongMethod(request.method, allowed: "GET")
    }
    return Answer.alive()
  }

  /// The name in `/v1/streams/NAME/messages`.
  private static func streamName(in path: String) -> Substring? {
    guard path.hasPrefix("/v1/streams/"), path.hasSuffix("/messages") else { return nil }
    let name = path.dropFirst("/v1/streams/".count).dropLast("/messages".count)
    return path.utf8.count >= "/v1/streams//messages".utf8.count && !name.contains("/") ? name : nil
  }

  private func post(_ request: Request, to stream: StreamName, _ channel: any Channel) async throws -> Response {
    guard request.method == .post else { return Answer.wrongMethod(request.method, allowed: "POST") }
    switch tokens.authorize(request.headers[.authorization], for: stream) {
    case .allowed: break
    case .unknown: return Answer.unauthorized()
    case .forbidden: return Answer.forbidden(stream)
    }
    guard let format = Self.format(of: request.headers[.contentType]) else {
      return Answer.unsupportedType(request.headers[.contentType])
    }
    guard let coding = ContentCoding.named(request.headers[.contentEncoding]) else {
      return Answer.unsupportedCoding(request.headers[.contentEncoding] ?? "")
    }
    var rules = MessageRules(maximumSize: options.longestMessage, identityField: options.identityField)
    if let key = request.headers[.idempotencyKey] {
      guard let key = Self.idempotencyKey(key) else { return Answer.badKey() }
      rules.requestKey = key
    }
    if let length = request.headers[.contentLength].flatMap({ Int($0) }), length > options.maximumBody,
      format == .json || coding != nil
    {
      return Answer.tooLarge(limit: options.maximumBody, option: "--max-body")
    }
    if intake.isClosing { return Answer.closing() }
    guard intake.admits(stream) else { return Answer.tooManyStreams(limit: intake.maximumStreams) }
    if request.headers[.expect]?.lowercased() == "100-continue" {
      try await channel.triggerUserOutboundEvent(ConnectionHandler.GoOn())
    }
    var reader = BodyReader(
      request.body, format: format, coding: coding, rules: rules, options: options, memory: intake.memory)
    defer { reader.close() }
    return try await store(&reader, in: stream, preference: Preference(request.headers[.prefer]))
  }

  /// Stores the body part by part; as a rule there is one.
  private func store(
    _ reader: inout BodyReader, in stream: StreamName, preference: Preference
  ) async throws -> Response {
    let acknowledge =
      preference.respondsAsync
      ? Acknowledgement.durable
      : .committed(within: min(preference.wait ?? options.answerTimeout, options.answerTimeout))
    var stored = 0
    var isJournaled = false
    while true {
      let messages: [Message]
      do {
        guard let next = try await reader.next() else { break }
        messages = next
      } catch let rejection as BodyRejection {
        return Answer.rejected(rejection, stored: stored)
      }
      // Lines may be more than can be held at once; they are stored in parts then, as a body that is too large is.
      let parts = reader.format == .newlineDelimited ? intake.parts(of: messages) : [messages[...]]
      for part in parts {
        if part.count > intake.capacity {
          return Answer.tooMany(part.count, capacity: intake.capacity, stored: stored)
        }
        switch await intake.store(Array(part), in: stream, acknowledge: acknowledge) {
        case .stored: break
        case .journaled: isJournaled = true
        case let outcome: return answer(outcome, stored: stored, stream)
        }
        stored += part.count
      }
    }
    if stored == 0, reader.format == .newlineDelimited {
      return Answer.malformed(MessageSyntaxError(line: 1, column: 1, reason: "the body is empty"), stored: 0)
    }
    guard isJournaled else { return Answer.stored(stored) }
    return Answer.accepted(stored, asAsked: preference.respondsAsync)
  }

  /// The answer to a request that could not be stored.
  private func answer(_ outcome: Outcome, stored: Int, _ stream: StreamName) -> Response {
    switch outcome {
    case .stored, .journaled: Answer.stored(stored)
    case .full(let why): Answer.unavailable(why, stored: stored, retryAfter: intake.retryAfter(stream))
    case .closing: Answer.closing(stored: stored)
    case .failed:
      Answer.unavailable("storing failed, the aggregator's log says why", stored: stored, retryAfter: 2)
    case .refused: Answer.refused(stored: stored)
    case .buried: Answer.buried(stored: stored)
    }
  }

  /// The format that a media type stands for, whatever its parameters.
  static func format(of contentType: String?) -> MessageFormat? {
    guard let contentType else { return nil }
    // As most are written.
    if let format = formats[contentType] { return format }
    return formats[contentType.prefix { $0 != ";" }.trimmingCharacters(in: .whitespaces).lowercased()]
  }

  private static let formats: [String: MessageFormat] = [
    "application/json": .json, "text/json": .json,
    "application/x-ndjson": .newlineDelimited, "application/ndjson": .newlineDelimited,
    "application/jsonl": .newlineDelimited, "application/x-jsonlines": .newlineDelimited,
  ]

  /// The key without the quotes that it may have (it is a string of RFC 8941); `nil` when it is none.
  static func idempotencyKey(_ field: String) -> String? {
    var key = Substring(field)
    if key.count >= 2, key.first == "\"", key.last == "\"" { key = key.dropFirst().dropLast() }
    guard (1...255).contains(key.utf8.count), key.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else { return nil }
    return String(key)
  }
}

extension HTTPField.Name {
  static let idempotencyKey = HTTPField.Name("Idempotency-Key") ?? .accept
  static let prefer = HTTPField.Name("Prefer") ?? .accept
  static let preferenceApplied = HTTPField.Name("Preference-Applied") ?? .accept
}
