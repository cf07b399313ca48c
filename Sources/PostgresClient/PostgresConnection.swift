/// A connection to a PostgreSQL server.
///
/// libpq blocks, so all of it runs on a queue that belongs to the connection, never on a cooperative thread. One call is made at a
/// time; each has an instant by which it is over, and one whose task is cancelled is over at once. In both cases the connection
/// is closed, because it is not known what the server has done.
package actor PostgresConnection {
  private nonisolated let executor: QueueExecutor
  private nonisolated let wakeUp: WakeUp
  private let session: PostgresSession

  package nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

  private init(address: PostgresAddress) throws(PostgresError) {
    executor = QueueExecutor(label: "postgres")
    wakeUp = try WakeUp()
    session = PostgresSession(address: address, wakeUp: wakeUp)
  }

  /// Connects.
  ///
  /// - Parameters:
  ///   - address: Where to.
  ///   - applicationName: What the server shows, unless the address names another.
  ///   - deadline: When it gives up, if the address's `connect_timeout` is not over before.
  /// - Returns: The connection.
  /// - Throws: ``PostgresError``; its `state` is what the server says, or `nil` when none was reached.
  package static func connect(
    to address: PostgresAddress, applicationName: String, until deadline: ContinuousClock.Instant
  ) async throws -> PostgresConnection {
    let connection = try PostgresConnection(address: address)
    let deadline = min(deadline, .now + address.connectTimeout)
    try await connection.perform(until: deadline) { try $0.connect(applicationName: applicationName) }
    return connection
  }

  /// Makes one call, or several one after the other, with nothing of others between them.
  ///
  /// - Parameters:
  ///   - deadline: When it is over; counted from here, also while it waits for a call before it.
  ///   - body: Calls ``PostgresSession``; it runs on the connection's queue and may block.
  /// - Returns: What `body` returns.
  /// - Throws: What `body` throws: ``PostgresError``, or `CancellationError`.
  package func perform<Output: Sendable>(
    until deadline: ContinuousClock.Instant,
    _ body: @Sendable (PostgresSession) throws -> Output
  ) async throws -> Output {
    // A signal that is meant for a call that waits may end the poll of the one before it. That does no harm: a poll looks
    // whether its own task is cancelled, and goes on; the other looks before it polls.
    try await withTaskCancellationHandler {
      session.deadline = deadline
      return try body(session)
    } onCancel: {
      wakeUp.signal()
    }
  }

  /// Whether it can be used, as far as this side knows: a server that has closed it meanwhile is noticed.
  package var isOpen: Bool { session.isOpen }

  /// Closes it.
  package func close() {
    session.close()
  }
}
