import AsyncHTTPClient
import NIOCore
import NIOHTTP1
import NIOPosix
import Synchronization

/// Posts each batch as NDJSON to a server, and takes an answer of 2xx for the word that it is stored.
///
/// - `{stream}` in the URL's path or query, also as `%7Bstream%7D`, is replaced by the stream's name, which is in the header
///   `Aggregator-Stream` too; `{key}` by the batch's key.
/// - `Idempotency-Key` is the batch's key (``BatchKey``), the same at each attempt, so that a server which heeds it stores a
///   batch once, though an answer was lost.
/// - 408, 425, 429 and 5xx may pass, after `Retry-After` where it is given, and so do broken connections and time-outs;
///   other 4xx are refusals for good. Redirects are not followed, because a POST that is sent on may end up as a GET.
/// - Errors have the status, and never what the server says besides: it may quote a message.
package final class HTTPSink: Sink {
  private let endpoint: Endpoint
  private let authorization: String?
  private let requestTimeout: Duration
  private let client: HTTPClient
  private let isClosed = Atomic(false)

  private static let connectTimeout = TimeAmount.seconds(5)
  /// Of the body of an answer no more is read; of one that is longer, the status alone counts.
  private static let longestAnswer = 64 << 10

  /// Connects to nothing yet.
  ///
  /// - Parameters:
  ///   - url: `http://` or `https://`; a user and password before the host become Basic authorisation.
  ///   - authorization: The value of `Authorization`, such as `Bearer …`.
  ///   - requestTimeout: The longest that a request may take, its answer included; more than zero.
  /// - Throws: ``ProgramError`` that says what is wrong with them; it never shows what is secret.
  package init(
    url: String, authorization: String? = nil, requestTimeout: Duration = .seconds(60)
  ) throws(ProgramError) {
    endpoint = try Endpoint(url)
    guard requestTimeout > .zero else {
      throw ProgramError("\(endpoint.description): a time-out of \(requestTimeout) leaves no time: give more than 0")
    }
    guard authorization == nil || endpoint.authorization == nil else {
      throw ProgramError(
        "\(endpoint.description): there is an authorisation, and a user in the address: give one of them")
    }
    // The client would quote it in its error.
    guard authorization?.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7F }) != false else {
      throw ProgramError("\(endpoint.description): the authorisation has a line break or another control character")
    }
    self.authorization = authorization ?? endpoint.authorization
    self.requestTimeout = requestTimeout
    var configuration = HTTPClient.Configuration(
      redirectConfiguration: .disallow, timeout: .init(connect: Self.connectTimeout))
    // As many as there are batches at once, which the library limits: a batch should not wait for a connection.
    configuration.connectionPool.concurrentHTTP1ConnectionsPerHostSoftLimit = 1_024
    // The library retries, with the back-off that it was told; the client would try on in silence until its time-out.
    configuration.connectionPool.retryConnectionEstablishment = false
    client = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
  }

  deinit {
    // A client that is let go without it stops the program. It keeps itself until it is done.
    if !isClosed.load(ordering: .relaxed) { client.shutdown { _ in } }
  }

  package func write(_ messages: [Message], to stream: StreamName) async throws {
    guard !messages.isEmpty else { return }
    let request = request(messages, stream)
    let deadline = ContinuousClock.now + requestTimeout
    do {
      let response = try await client.execute(request, timeout: TimeAmount(requestTimeout))
      if let error = refusal(response.status, response.headers, count: messages.count) { throw error }
      try await finishReading(response, by: deadline)
    } catch let error as SinkError {
      throw error
    } catch {
      try Task.checkCancellation()
      throw SinkError(description: "\(endpoint.description): \(explain(error))", isRetryable: true)
    }
  }

  private func request(_ messages: [Message], _ stream: StreamName) -> HTTPClientRequest {
    let key = BatchKey.key(messages, stream: stream)
    var request = HTTPClientRequest(url: endpoint.url(stream: stream, key: key))
    request.method = .POST
    request.headers = [
      "Content-Type": "application/x-ndjson", "Idempotency-Key": key, "Aggregator-Stream": stream.description,
      "User-Agent": "aggregator", "Accept": "*/*",
    ]
    if let authorization { request.headers.add(name: "Authorization", value: authorization) }
    request.body = .bytes(ByteBuffer(bytes: Lines.encode(messages)))
    return request
  }

  /// A server may find out that it cannot store while it answers, and break off: only a whole answer counts.
  private func finishReading(_ response: HTTPClientResponse, by deadline: ContinuousClock.Instant) async throws {
    // The time-out of the client ends with the head.
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask {
        var count = 0
        for try await part in response.body {
          count += part.readableBytes
          if count > Self.longestAnswer { return }
        }
      }
      group.addTask {
        try await AlarmClock().sleep(until: deadline)
        throw HTTPClientError.deadlineExceeded
      }
      defer { group.cancelAll() }
      try await group.next()
    }
  }

  /// What a status means; `nil` where the batch is stored.
  private func refusal(_ status: HTTPResponseStatus, _ headers: HTTPHeaders, count: Int) -> SinkError? {
    // The words for the status are the standard's, and not the server's.
    let text = "\(endpoint.description): answered \(status.code) \(Self.reason(status))"
    switch status.code {
    case 200..<300: return nil
    case 300..<400:
      return SinkError(
        description: "\(text): redirects are not followed; give the address that it leads to", isRetryable: true)
    case 408, 425, 429, 500...:
      let wait = headers.first(name: "Retry-After").flatMap {
        RetryAfter.wait($0, date: headers.first(name: "Date"))
      }
      return SinkError(description: text, isRetryable: true, retryAfter: wait)
    case 413 where count > 1:
      return SinkError(description: "\(text): a batch of \(count) messages is too large for it", isRetryable: false)
    default: return SinkError(description: text, isRetryable: false)
    }
  }

  private static func reason(_ status: HTTPResponseStatus) -> String {
    if case .custom = status { "" } else { status.reasonPhrase }
  }

  private func explain(_ error: any Error) -> String {
    switch error as? HTTPClientError {
    case .deadlineExceeded?: "no answer within \(requestTimeout)"
    case .connectTimeout?: "no connection within 5 seconds"
    case .remoteConnectionClosed?: "the server closed the connection before it had answered"
    case let error?: error.shortDescription
    case nil: "\(error)"
    }
  }

  /// Connects, and closes the connection again.
  ///
  /// It makes no request: there is none that every server takes and that stores nothing.
  package func check() async throws {
    do {
      let bootstrap = ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton).connectTimeout(Self.connectTimeout)
      try await bootstrap.connect(host: endpoint.host, port: endpoint.port).get().close().get()
    } catch {
      throw SinkError(description: "\(endpoint.description): \(error)", isRetryable: true)
    }
  }

  /// Closes the connections.
  package func close() async throws {
    guard !isClosed.exchange(true, ordering: .relaxed) else { return }
    try await client.shutdown()
  }
}
