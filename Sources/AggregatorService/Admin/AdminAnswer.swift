import Foundation
import HTTPTypes
import Hummingbird
import NIOCore

/// The answers to those who look.
enum AdminAnswer {
  /// Text of one line.
  static func line(_ status: HTTPResponse.Status, _ text: String, _ headers: HTTPFields = [:]) -> Response {
    content(status, "text/plain; charset=utf-8", ByteBuffer(string: text + "\n"), headers)
  }

  static func json(_ data: Data) -> Response {
    var buffer = ByteBuffer(bytes: data)
    buffer.writeString("\n")
    return content(.ok, "application/json", buffer)
  }

  static func metrics(_ text: PrometheusText) -> Response {
    content(.ok, PrometheusText.contentType, ByteBuffer(string: text.text))
  }

  static func asset(_ asset: PageAsset) -> Response {
    // The page of one version must not run with the script of another: ask each time, it is small.
    content(.ok, asset.contentType, ByteBuffer(bytes: asset.bytes), [.cacheControl: "no-cache"])
  }

  /// Events, one each time that `listener` has the next.
  static func events(of listener: EventFeed.Listener) -> Response {
    let body = ResponseBody { writer in
      try await writer.write(ByteBuffer(string: "retry: 1000\n\n"))
      for await event in listener.events { try await writer.write(event) }
      try await writer.finish(nil)
    }
    return Response(status: .ok, headers: eventHeaders, body: body)
  }

  /// The head alone, for HEAD.
  static func noEvents() -> Response {
    var response = Response(status: .ok, headers: eventHeaders)
    response.headers[.contentLength] = nil
    return response
  }

  private static var eventHeaders: HTTPFields {
    var headers = common
    headers[.contentType] = "text/event-stream"
    headers[.cacheControl] = "no-store"
    // For proxies of nginx's kind, which else collect events and hand them on in lumps.
    if let name = HTTPField.Name("X-Accel-Buffering") { headers[name] = "no" }
    return headers
  }

  static func content(
    _ status: HTTPResponse.Status, _ type: String, _ body: ByteBuffer, _ headers: HTTPFields = [:]
  ) -> Response {
    var all = common
    all[.cacheControl] = "no-store"
    all[.contentType] = type
    for field in headers { all[field.name] = field.value }
    return Response(status: status, headers: all, body: ResponseBody(byteBuffer: body))
  }

  /// Nothing from elsewhere is loaded, nobody frames the page, and no other site reads what is answered.
  private static let common: HTTPFields = {
    var headers: HTTPFields = [
      .contentSecurityPolicy:
        "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
      .xContentTypeOptions: "nosniff",
    ]
    for (name, value) in [("Referrer-Policy", "no-referrer"), ("Cross-Origin-Resource-Policy", "same-origin")] {
      if let name = HTTPField.Name(name) { headers[name] = value }
    }
    return headers
  }()
}
