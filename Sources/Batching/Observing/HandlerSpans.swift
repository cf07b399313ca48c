import Tracing

/// The spans around handler calls.
///
/// A class, so that to ask whether there are any is to look at one word.
final class HandlerSpans: Sendable {
  private let aggregator: String
  private let operation: String
  private let tracer: any Tracer
  private let maximumLinks: Int?

  /// `nil` when nobody traces: it costs nothing then.
  init?(aggregator name: String, policy: TracingPolicy, tracer: @autoclosure () -> any Tracer) {
    guard !policy.isOff else { return nil }
    let tracer = tracer()
    if tracer is NoOpTracer { return nil }
    self.tracer = tracer
    aggregator = name
    // OpenTelemetry's name of a messaging span: the operation, then the destination.
    operation = "process \(name)"
    maximumLinks = policy.maximumLinks
  }

  var linksSenders: Bool { maximumLinks != nil }

  /// Calls the handler in a span, which is the parent of the handler's own.
  func around<Message>(
    _ batch: Batch<Message>, contexts: [ServiceContext?]?, handler: () async throws -> Void
  ) async throws {
    let span: any Span = tracer.startSpan(operation, ofKind: .consumer)
    defer { span.end() }
    if span.isRecording {
      describe(batch, in: span)
      if let contexts { link(span, to: contexts) }
    }
    do {
      try await ServiceContext.$current.withValue(span.context) { try await handler() }
    } catch {
      span.updateAttributes { $0["error.type"] = typeName(of: error) }
      span.recordError(error)
      span.setStatus(SpanStatus(code: .error))
      throw error
    }
  }

  private func describe<Message>(_ batch: Batch<Message>, in span: any Span) {
    span.updateAttributes { attributes in
      attributes["messaging.batch.message_count"] = batch.count
      attributes["batching.aggregator"] = aggregator
      attributes["batching.batch.sequence_number"] = batch.sequenceNumber
      attributes["batching.batch.attempt"] = batch.attempt
      attributes["batching.batch.trigger"] = batch.trigger.description
    }
  }

  /// Links the span to those in which its messages were sent, each once, the oldest messages first.
  private func link(_ span: any Span, to contexts: [ServiceContext?]) {
    var linked: [ServiceContext] = []
    for case let context? in contexts where !context.isEmpty && !linked.contains(where: context.isCopy) {
      guard linked.count < maximumLinks ?? 0 else { return }
      linked.append(context)
      span.addLink(SpanLink(context: context, attributes: [:]))
    }
  }
}

extension ServiceContext {
  /// Whether both are copies of one value: they are, if they are the same bits.
  ///
  /// Contexts cannot be compared otherwise, for what is in them need not be comparable. All that is sent in one span is sent
  /// with copies of one context, unless somebody adds to it on the way; then the span is linked again.
  fileprivate func isCopy(of other: ServiceContext) -> Bool {
    withUnsafeBytes(of: self) { own in withUnsafeBytes(of: other) { own.elementsEqual($0) } }
  }
}
