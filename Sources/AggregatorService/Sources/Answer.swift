import HTTPTypes
import Hummingbird
import NIOCore

/// The answers that clients get, each with one helpful line.
enum Answer {
  static func stored(_ count: Int) -> Response {
    json(.ok, "{\"stored\":\(count)}")
  }

  static func alive() -> Response {
    json(.ok, "{\"status\":\"alive\"}")
  }

  static func malformed(_ error: MessageSyntaxError) -> Response {
    json(
      .badRequest,
      """
      {"error":\(quoted("line \(error.line), column \(error.column): \(error.reason); nothing of this request was stored")),\
      "line":\(error.line),"column":\(error.column)}
      """)
  }

  static func tooLarge(limit: Int) -> Response {
    error(
      .contentTooLarge, "the body is larger than \(limit) bytes; send less at a time, or raise --max-body",
      [.connection: "close"])
  }

  static func tooMany(_ count: Int, capacity: Int) -> Response {
    error(
      .contentTooLarge,
      "\(count) messages are more than can be held at once (\(capacity)); send fewer at a time, or raise --capacity")
  }

  static func unsupportedType(_ type: String?) -> Response {
    let found = type.map { "'\($0)' is no type that can be stored" } ?? "there is no Content-Type"
    return error(
      .unsupportedMediaType,
      "\(found); send application/json (one value, or an array of messages) or application/x-ndjson (one value a line)",
      [.accept: "application/json, application/x-ndjson"])
  }

  static func notFound(_ path: String) -> Response {
    error(.notFound, "there is nothing at '\(path)'; post messages to /v1/messages")
  }

  static func wrongMethod(_ method: HTTPRequest.Method, allowed: String) -> Response {
    error(.methodNotAllowed, "\(method.rawValue) is not for this path; use \(allowed)", [.allow: allowed])
  }

  static func unavailable(_ why: String, closes: Bool = false) -> Response {
    error(
      .serviceUnavailable, "\(why); nothing of this request was stored, send it again later",
      closes ? [.retryAfter: "1", .connection: "close"] : [.retryAfter: "1"])
  }

  static func closing() -> Response {
    unavailable("the aggregator is shutting down", closes: true)
  }

  static func refused() -> Response {
    error(
      .internalServerError,
      "the store refuses this request, the aggregator's log says why; sending it again will not help")
  }

  private static func error(
    _ status: HTTPResponse.Status, _ message: String, _ headers: HTTPFields = [:]
  ) -> Response {
    json(status, "{\"error\":\(quoted(message))}", headers)
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
