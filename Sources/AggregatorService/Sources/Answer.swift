import AggregatorStorage
import HTTPTypes
import Hummingbird
import NIOCore

/// The answers that clients get, each with one helpful line.
///
/// Where a part of a large body has been stored before something went wrong, `stored` says how many messages of it.
enum Answer {
  // MARK: Well

  static func stored(_ count: Int) -> Response {
    json(.ok, "{\"stored\":\(count)}")
  }

  /// Durable in the journal, not in the sink yet.
  static func accepted(_ count: Int, asAsked: Bool) -> Response {
    json(.accepted, "{\"accepted\":\(count)}", asAsked ? [.preferenceApplied: "respond-async"] : [:])
  }

  static func alive() -> Response {
    json(.ok, "{\"status\":\"alive\"}")
  }

  // MARK: The client's to mend

  static func malformed(_ problem: MessageSyntaxError, stored: Int) -> Response {
    let text = "line \(problem.line), column \(problem.column): \(problem.reason); \(rest(stored))"
    return json(
      problem.isTooLarge ? .contentTooLarge : .badRequest,
      "{\"error\":\(quoted(text)),\"line\":\(problem.line),\"column\":\(problem.column)\(storedField(stored))}",
      problem.isTooLarge ? [.connection: "close"] : [:])
  }

  static func rejected(_ rejection: BodyRejection, stored: Int) -> Response {
    switch rejection {
    case .malformed(let problem): malformed(problem, stored: stored)
    case .tooLarge(let limit, let option): tooLarge(limit: limit, option: option)
    case .miscoded:
      error(
        .badRequest, "the body is not what its Content-Encoding says, or breaks off; \(rest(stored))", stored: stored,
        [.connection: "close"])
    case .noMemory: unavailable("as many bytes are held as may be", stored: stored, closes: true)
    }
  }

  static func tooLarge(limit: Int, option: String) -> Response {
    error(
      .contentTooLarge,
      "the body is larger than \(limit) bytes; send less at a time, or as lines (application/x-ndjson) without "
        + "Content-Encoding, which may go on for ever, or raise \(option)",
      [.connection: "close"])
  }

  static func tooMany(_ count: Int, capacity: Int, stored: Int) -> Response {
    error(
      .contentTooLarge,
      "\(count) messages are more than can be held at once (\(capacity)); send fewer at a time, or raise --capacity; "
        + rest(stored),
      stored: stored)
  }

  static func tooManyStreams(limit: Int) -> Response {
    error(
      .forbidden, "there are \(limit) streams already, as many as may be; use one of them, or raise --max-streams")
  }

  static func unsupportedType(_ type: String?) -> Response {
    let found = type.map { "'\($0)' is no type that can be stored" } ?? "there is no Content-Type"
    return error(
      .unsupportedMediaType,
      "\(found); send application/json (one value, or an array of messages) or application/x-ndjson (one value a line)",
      [.accept: "application/json, application/x-ndjson"])
  }

  static func unsupportedCoding(_ coding: String) -> Response {
    error(
      .unsupportedMediaType, "'\(coding)' is no coding that is understood; use gzip or deflate, one of them",
      [.acceptEncoding: "gzip, deflate"])
  }

  static func badKey() -> Response {
    error(
      .badRequest, "the Idempotency-Key must be 1 to 255 visible ASCII characters; nothing of this request was stored")
  }

  static func notFound(_ path: String) -> Response {
    error(
      .notFound, "there is nothing at '\(path)'; post messages to /v1/messages or to /v1/streams/NAME/messages")
  }

  static func wrongMethod(_ method: HTTPRequest.Method, allowed: String) -> Response {
    error(.methodNotAllowed, "\(method.rawValue) is not for this path; use \(allowed)", [.allow: allowed])
  }

  static func unauthorized() -> Response {
    error(
      .unauthorized, "a token is needed: send Authorization: Bearer TOKEN with one that the operator has given you",
      [.wwwAuthenticate: "Bearer", .connection: "close"])
  }

  static func forbidden(_ stream: StreamName) -> Response {
    error(.forbidden, "this token is not for the stream '\(stream)'", [.connection: "close"])
  }

  /// Some of the messages, or all, are dead letters now.
  static func buried(stored: Int) -> Response {
    error(
      .unprocessableContent,
      "the store refuses messages of this request; the aggregator keeps those as dead letters and has stored the others; "
        + "sending it again will not help",
      stored: stored)
  }

  static func refused(stored: Int) -> Response {
    error(
      .unprocessableContent,
      "the store refuses this request, the aggregator's log says why; sending it again will not help; \(rest(stored))",
      stored: stored)
  }

  /// The body of a 408, which the connection's handler writes by itself.
  static func bodyTooSlow(within seconds: Int64) -> String {
    "{\"error\":\"the body did not come within \(seconds) s (--body-timeout); send it faster, or less at a time\"}\n"
  }

  // MARK: Ours

  /// The body of a 503, which the connection's handler writes by itself.
  static func tooManyConnections(limit: Int) -> String {
    "{\"error\":\"there are \(limit) connections already, as many as may be (--max-connections); use fewer, or come again later\"}\n"
  }

  static func unavailable(_ why: String, stored: Int = 0, closes: Bool = false, retryAfter: Int = 1) -> Response {
    error(
      .serviceUnavailable, "\(why); \(rest(stored)), send \(stored == 0 ? "it" : "the others") again later",
      stored: stored,
      closes ? [.retryAfter: "\(retryAfter)", .connection: "close"] : [.retryAfter: "\(retryAfter)"])
  }

  static func closing(stored: Int = 0) -> Response {
    unavailable("the aggregator is shutting down", stored: stored, closes: true)
  }

  // MARK: Parts

  private static func rest(_ stored: Int) -> String {
    stored == 0 ? "nothing of this request was stored" : "the first \(stored) messages of this request were stored"
  }

  private static func storedField(_ stored: Int) -> String {
    stored == 0 ? "" : ",\"stored\":\(stored)"
  }

  static func error(
    _ status: HTTPResponse.Status, _ message: String, stored: Int = 0, _ headers: HTTPFields = [:]
  ) -> Response {
    json(status, "{\"error\":\(quoted(message))\(storedField(stored))}", headers)
  }

  private static func json(
    _ status: HTTPResponse.Status, _ body: String, _ headers: HTTPFields = [:]
  ) -> Response {
    var headers = headers
    headers[.contentType] = "application/json"
    return Response(status: status, headers: headers, body: ResponseBody(byteBuffer: ByteBuffer(string: body + "\n")))
  }

  /// A JSON string (RFC 8259, section 7).
  private static func quoted(_ text: String) -> String {
    var result = "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": result += "\\\""
      case "\\": result += "\\\\"
      case "\n": result += "\\n"
      case _ where scalar.value < 0x20:
        let digits = String(scalar.value, radix: 16)
        result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result + "\""
  }
}
