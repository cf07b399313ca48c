import HTTPTypes
import Hummingbird

/// Keeps web sites that an operator has open from reading or doing what is only for the operator.
struct RequestGuard: Sendable {
  /// The address that it listens on.
  let host: String

  /// Whether only this machine can reach it.
  private var isLoopback: Bool { Self.isLoopback(host) }

  private static func isLoopback(_ host: String) -> Bool {
    host == "localhost" || host.hasPrefix("127.") && host.allSatisfy { $0.isNumber || $0 == "." } || host == "::1"
  }

  /// Why the request is refused, if it is.
  ///
  /// A site may give its own name the address of loopback (DNS rebinding); then the browser takes us for that site, but it
  /// still sends that name as `Host`.
  func refusal(of request: Request) -> String? {
    guard isLoopback, let authority = request.head.authority else { return nil }
    let name = Self.host(of: authority)
    guard !Self.isLoopback(name), name != host else { return nil }
    return "this listens on \(host) for this machine alone; ask for localhost or 127.0.0.1, not for another name"
  }

  /// Whether the request could be another site's: browsers say where a request is from, and other programs say nothing.
  func isFromElsewhere(_ request: Request) -> Bool {
    if let name = HTTPField.Name("Sec-Fetch-Site"), let site = request.headers[name] {
      return site != "same-origin" && site != "none"
    }
    guard let origin = request.headers[.origin] else { return false }
    return origin != "http://\(request.head.authority ?? "")" && origin != "https://\(request.head.authority ?? "")"
  }

  /// A `Host` without its port, and without the brackets of an IPv6 address.
  private static func host(of authority: String) -> String {
    if authority.first == "[", let end = authority.firstIndex(of: "]") {
      return String(authority[authority.index(after: authority.startIndex)..<end])
    }
    return String(authority.prefix { $0 != ":" }).lowercased()
  }
}
