/// Whether the calls of an aggregator's handler are traced, with the tracer of swift-distributed-tracing.
///
/// The tracer is the one that is in force when the aggregator is made; where there is none, nothing is traced and nothing
/// is paid.
public struct TracingPolicy: Sendable, Hashable, CustomStringConvertible {
  private enum Kind: Hashable {
    case off
    case handlerCalls
    case linkedHandlerCalls(maximumLinks: Int)
  }

  private let kind: Kind

  /// No spans.
  public static let off = TracingPolicy(kind: .off)

  /// A span for each handler call, retries and parts of batches included.
  public static let handlerCalls = TracingPolicy(kind: .handlerCalls)

  /// A span for each handler call, linked to the spans in which its messages were sent.
  ///
  /// Every message carries its sender's context then, and cannot be sent on the fast path: sending costs several times as
  /// much.
  ///
  /// - Parameter linkingSenders: The most links of one span, at least 1; of more senders the first are linked.
  /// - Returns: The policy.
  public static func handlerCalls(linkingSenders: Int) -> TracingPolicy {
    TracingPolicy(kind: .linkedHandlerCalls(maximumLinks: linkingSenders))
  }

  var isOff: Bool { kind == .off }

  /// The most links of one span; `nil` where there are none.
  var maximumLinks: Int? {
    if case .linkedHandlerCalls(let maximumLinks) = kind { maximumLinks } else { nil }
  }

  /// The policy's name.
  public var description: String {
    switch kind {
    case .off: "off"
    case .handlerCalls: "handlerCalls"
    case .linkedHandlerCalls(let maximumLinks): "handlerCalls(linkingSenders: \(maximumLinks))"
    }
  }
}
