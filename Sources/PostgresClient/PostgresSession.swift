import CPostgres

#if canImport(Glibc)
  import Glibc
#else
  import Darwin
#endif

/// The calls of a connection.
///
/// They block until the answer is there, the deadline has come, or the task is cancelled.
package final class PostgresSession {
  private let address: PostgresAddress
  private let wakeUp: WakeUp
  /// libpq's connection; `nil` before connecting, and when it is closed.
  private var handle: OpaquePointer?
  /// When the call that is being made is over.
  var deadline: ContinuousClock.Instant = .now

  init(address: PostgresAddress, wakeUp: WakeUp) {
    self.address = address
    self.wakeUp = wakeUp
  }

  deinit {
    PQfinish(handle)
  }

  // MARK: Connecting

  func connect(applicationName: String) throws {
    let settings = [
      ("fallback_application_name", applicationName),
      // A server that is gone without a word, as with its machine, is noticed even where no call is going on.
      ("keepalives_idle", "10"), ("keepalives_interval", "5"), ("keepalives_count", "3"), ("tcp_user_timeout", "30000"),
      // What comes before it is what the URI may overrule; what comes behind overrules the URI.
      ("dbname", address.uri),
      ("client_encoding", "UTF8"),
    ]
    let keywords = CStrings(settings.map(\.0))
    let values = CStrings(settings.map(\.1))
    // It looks up names, which cannot be interrupted; all else can.
    handle = PQconnectStartParams(keywords.pointers, values.pointers, 1)
    PQsetErrorVerbosity(handle, PQERRORS_VERBOSE)
    PQsetNoticeProcessor(handle, { _, _ in }, nil)
    var next = PQstatus(handle) == CONNECTION_BAD ? PGRES_POLLING_FAILED : PGRES_POLLING_WRITING
    while next != PGRES_POLLING_OK {
      guard next != PGRES_POLLING_FAILED else {
        let error = PostgresError(connecting: PQerrorMessage(handle).map { String(cString: $0) } ?? "")
        close()
        throw error
      }
      try wait(for: next == PGRES_POLLING_READING ? POLLIN : POLLOUT)
      next = PQconnectPoll(handle)
    }
    PQsetErrorVerbosity(handle, PQERRORS_DEFAULT)
    guard PQsetnonblocking(handle, 1) == 0 else { throw lost() }
  }

  /// Whether the server has not closed it.
  ///
  /// Looks at what has come in meanwhile, without waiting.
  var isOpen: Bool {
    guard handle != nil else { return false }
    // A server that ends says why and then closes: two things to read.
    for _ in 0..<3 {
      var descriptor = pollfd(fd: PQsocket(handle), events: Int16(POLLIN), revents: 0)
      guard PQstatus(handle) == CONNECTION_OK, poll(&descriptor, 1, 0) > 0 else { break }
      guard PQconsumeInput(handle) == 1 else { return false }
      _ = PQisBusy(handle)
    }
    return PQstatus(handle) == CONNECTION_OK
  }

  func close() {
    PQfinish(handle)
    handle = nil
  }

  // MARK: Statements

  /// Runs one statement, or several with `;` between them, which are one transaction if they do not say otherwise.
  ///
  /// - Returns: What the last one returned.
  @discardableResult
  package func query(_ sql: String) throws -> PostgresResult {
    guard PQsendQuery(try open(), sql) == 1 else { throw lost() }
    return try answer()
  }

  /// Runs one statement with values for `$1`, `$2`, ….
  @discardableResult
  package func query(_ sql: String, _ parameters: [PostgresParameter]) throws -> PostgresResult {
    let handle = try open()
    let values = CParameters(parameters)
    let count = Int32(parameters.count)
    guard PQsendQueryParams(handle, sql, count, nil, values.pointers, values.lengths, values.formats, 0) == 1 else {
      throw lost()
    }
    return try answer()
  }

  /// Runs `COPY … FROM STDIN` on data that is in the form that the statement names.
  ///
  /// Other statements may come before it in the same string.
  package func copy(_ sql: String, _ data: [UInt8]) throws {
    guard PQsendQuery(try open(), sql) == 1 else { throw lost() }
    guard try untilCopy() else {
      throw PostgresError(description: "the statement does not take data: \(sql)", state: nil)
    }
    try data.withUnsafeBytes { bytes in
      var rest = bytes[...]
      while !rest.isEmpty {
        let slice = UnsafeRawBufferPointer(rebasing: rest.prefix(1 << 16))
        let taken = PQputCopyData(handle, slice.baseAddress?.assumingMemoryBound(to: CChar.self), Int32(slice.count))
        guard taken >= 0 else { throw lost() }
        if taken == 1 { rest = rest.dropFirst(slice.count) }
        try flush()
      }
    }
    while true {
      let taken = PQputCopyEnd(handle, nil)
      guard taken >= 0 else { throw lost() }
      if taken == 1 { break }
      try flush()
    }
    try answer()
  }

  /// Ends a transaction that a failure has left open, so that the connection can be used again; closes it if that fails too.
  package func rollBack() {
    guard let handle, PQtransactionStatus(handle) != PQTRANS_IDLE else { return }
    do {
      try query("ROLLBACK")
    } catch {
      close()
    }
  }

  // MARK: Answers

  private func open() throws(PostgresError) -> OpaquePointer {
    guard let handle else { throw PostgresError(description: "the connection is closed", state: nil) }
    return handle
  }

  /// Reads all that a string of statements returns, and throws the first error in it.
  @discardableResult
  private func answer() throws -> PostgresResult {
    try flush()
    var last = PostgresResult()
    var failure: PostgresError?
    while let result = try next() {
      defer { PQclear(result) }
      switch PQresultStatus(result) {
      case PGRES_COMMAND_OK, PGRES_TUPLES_OK, PGRES_EMPTY_QUERY: last = PostgresResult(result)
      case PGRES_COPY_IN, PGRES_COPY_OUT, PGRES_COPY_BOTH:
        // It would return the same for ever.
        close()
        throw PostgresError(description: "the statement wants data", state: nil)
      default: failure = failure ?? PostgresError(result: result, handle: handle)
      }
    }
    if let failure {
      if PQstatus(handle) != CONNECTION_OK { close() }
      throw failure
    }
    return last
  }

  /// Reads until the server wants data; throws the first error before that.
  ///
  /// `false` when it wants none.
  private func untilCopy() throws -> Bool {
    try flush()
    while let result = try next() {
      defer { PQclear(result) }
      switch PQresultStatus(result) {
      case PGRES_COPY_IN: return true
      case PGRES_COMMAND_OK, PGRES_TUPLES_OK, PGRES_EMPTY_QUERY: break
      default:
        let failure = PostgresError(result: result, handle: handle)
        _ = try? answer()  // What is left of it.
        if PQstatus(handle) != CONNECTION_OK { close() }
        throw failure
      }
    }
    return false
  }

  /// The next result; `nil` behind the last one.
  private func next() throws -> OpaquePointer? {
    while PQisBusy(handle) == 1 {
      try wait(for: POLLIN)
      // When the connection is lost, the result says so; it may have been told why just before.
      guard PQconsumeInput(handle) == 1 else { break }
    }
    return PQgetResult(handle)
  }

  /// Sends what libpq has put aside.
  ///
  /// Reads meanwhile, lest both sides wait for the other to read.
  private func flush() throws {
    while true {
      let left = PQflush(handle)
      guard left >= 0 else { throw lost() }
      guard left == 1 else { return }
      try wait(for: POLLIN | POLLOUT)
      guard PQconsumeInput(handle) == 1 else { throw lost() }
    }
  }

  /// Waits until the socket is ready.
  private func wait(for events: Int32) throws {
    while true {
      if Task.isCancelled {
        close()
        throw CancellationError()
      }
      let left = ContinuousClock.now.duration(to: deadline) / .milliseconds(1)
      guard left > 0 else {
        close()
        throw PostgresError(description: "no answer in time", state: nil)
      }
      var descriptors = [
        pollfd(fd: PQsocket(handle), events: Int16(events), revents: 0),
        pollfd(fd: wakeUp.readEnd, events: Int16(POLLIN), revents: 0),
      ]
      poll(&descriptors, 2, Int32(min(left.rounded(.up), 60_000)))
      if descriptors[1].revents != 0 { wakeUp.clear() }
      if descriptors[0].revents != 0 { return }
    }
  }

  /// Closes a connection that libpq has given up, and says why it has.
  private func lost() -> PostgresError {
    let error = PostgresError(handle: handle)
    close()
    return error
  }
}
