import Foundation
import HTTPTypes
import Hummingbird
import Logging
import NIOCore

/// Answers those who look, and who flush.
struct AdminResponder: HTTPResponder {
  typealias Context = MessagesContext

  let feeds: AdminServer.Feeds
  let events: EventFeed
  let requestGuard: RequestGuard
  let logger: Logger

  func respond(to request: Request, context: Context) async throws -> Response {
    if let refusal = requestGuard.refusal(of: request) { return AdminAnswer.line(.misdirectedRequest, refusal) }
    let response = try await answer(request, context.channel)
    return request.method == .head ? response.createHeadResponse() : response
  }

  private func answer(_ request: Request, _ channel: any Channel) async throws -> Response {
    let path = request.uri.path
    if path == "/v1/flush" {
      guard request.method == .post else { return Self.wrongMethod(request, "POST") }
      return await flush(request)
    }
    guard let page = try await page(at: path, request, channel) else {
      return AdminAnswer.line(
        .notFound,
        "there is nothing at '\(path.prefix(100))'; see /, /livez, /readyz, /metrics, /v1/statistics, /v1/history, "
          + "/v1/events and /v1/flush")
    }
    return page
  }

  /// What is to be got at a path; `nil` when nothing is.
  private func page(at path: String, _ request: Request, _ channel: any Channel) async throws -> Response? {
    let asset = PageAsset.at(path)
    let paths = ["/livez", "/readyz", "/metrics", "/v1/statistics", "/v1/history", "/v1/events"]
    guard asset != nil || paths.contains(path) else { return nil }
    guard request.method == .get || request.method == .head else { return Self.wrongMethod(request, "GET, HEAD") }
    if let asset { return AdminAnswer.asset(asset) }
    switch path {
    case "/livez": return AdminAnswer.line(.ok, "alive")
    case "/readyz": return await ready()
    case "/metrics": return await metrics()
    case "/v1/statistics": return AdminAnswer.json(try await feeds.overview().json())
    case "/v1/history": return AdminAnswer.json(try History(of: feeds.meters).json())
    default: return listen(isHead: request.method == .head, channel)
    }
  }

  private func ready() async -> Response {
    switch await feeds.readiness() {
    case .ready: AdminAnswer.line(.ok, "ready")
    case .notReady(let why): AdminAnswer.line(.serviceUnavailable, why)
    }
  }

  private func metrics() async -> Response {
    var text = PrometheusText()
    await feeds.overview().write(to: &text)
    feeds.metrics?.write(to: &text)
    return AdminAnswer.metrics(text)
  }

  private func listen(isHead: Bool, _ channel: any Channel) -> Response {
    if isHead { return AdminAnswer.noEvents() }
    guard let listener = events.listen(on: channel) else {
      return AdminAnswer.line(
        .serviceUnavailable, "\(EventFeed.mostListeners) others listen, or it is about to end; come again later",
        [.retryAfter: "5"])
    }
    return AdminAnswer.events(of: listener)
  }

  private func flush(_ request: Request) async -> Response {
    guard !requestGuard.isFromElsewhere(request) else {
      return AdminAnswer.line(.forbidden, "another web site may not flush; do it from this page, or with curl")
    }
    do {
      try await feeds.flush()
      return AdminAnswer.line(.ok, "flushed")
    } catch {
      logger.error("flushing failed", metadata: ["error": "\(error)"])
      return AdminAnswer.line(.serviceUnavailable, "flushing failed, the log says why")
    }
  }

  private static func wrongMethod(_ request: Request, _ allowed: String) -> Response {
    AdminAnswer.line(
      .methodNotAllowed, "\(request.method.rawValue) is not for this path; use \(allowed)", [.allow: allowed])
  }
}
