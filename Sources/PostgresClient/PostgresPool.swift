import Synchronization

/// Connections to one database, made when they are needed and used again; one that is broken is thrown away.
package final class PostgresPool: Sendable {
  private struct Waiter {
    let id: Int
    let continuation: CheckedContinuation<Void, any Error>
  }

  private struct State {
    /// Connections that nobody uses, the latest used last.
    var idle: [PostgresConnection] = []
    /// How many more may be used at once.
    var free: Int
    /// Who waits for one, first come, first served.
    var waiting: [Waiter] = []
    var nextID = 0
    var isClosed = false
  }

  /// The most calls that wait for a connection.
  private static let mostWaiting = 1_000

  private let address: PostgresAddress
  private let applicationName: String
  private let size: Int
  private let onConnect: @Sendable (PostgresSession) throws -> Void
  private let state: Mutex<State>

  /// Makes a pool; nothing is connected yet.
  ///
  /// - Parameters:
  ///   - address: Where to.
  ///   - applicationName: What the server shows.
  ///   - size: The most connections, at least 1.
  ///   - onConnect: Runs on each new connection before anything else.
  package init(
    address: PostgresAddress, applicationName: String, size: Int,
    onConnect: @escaping @Sendable (PostgresSession) throws -> Void = { _ in }
  ) {
    precondition(size > 0, "a pool without connections can serve nobody")
    self.address = address
    self.applicationName = applicationName
    self.size = size
    self.onConnect = onConnect
    state = Mutex(State(free: size))
  }

  /// Makes calls on a connection, with nothing of others between them.
  ///
  /// - Parameters:
  ///   - deadline: When it is over, waiting for a connection and making one included.
  ///   - body: Runs on the connection's queue and may block. What it leaves open of a transaction is rolled back.
  /// - Returns: What `body` returns.
  /// - Throws: ``PostgresError``, `CancellationError`, and what `body` throws.
  package func perform<Output: Sendable>(
    until deadline: ContinuousClock.Instant,
    _ body: @Sendable (PostgresSession) throws -> Output
  ) async throws -> Output {
    try await wait(until: deadline)
    var usable: PostgresConnection?
    do {
      let connection = try await connection(until: deadline)
      usable = connection
      let output = try await connection.perform(until: deadline) { session in
        defer { session.rollBack() }
        return try body(session)
      }
      await giveBack(connection)
      return output
    } catch {
      await giveBack(usable)
      throw error
    }
  }

  /// Closes the connections that nobody uses, and the others when their calls are over.
  ///
  /// Later calls fail.
  package func close() async {
    let (idle, waiting) = state.withLock { state in
      state.isClosed = true
      defer { (state.idle, state.waiting) = ([], []) }
      return (state.idle, state.waiting)
    }
    for waiter in waiting { waiter.continuation.resume(throwing: Self.closed) }
    for connection in idle { await connection.close() }
  }

  private static let closed = PostgresError(description: "the connections are closed", state: nil)

  /// One that works, as far as can be told, or a new one.
  private func connection(until deadline: ContinuousClock.Instant) async throws -> PostgresConnection {
    while let connection = state.withLock({ $0.idle.popLast() }) {
      // A server that was restarted has closed it. Nothing was sent on it yet, so nobody needs to know.
      if await connection.isOpen { return connection }
      await connection.close()
    }
    let connection = try await PostgresConnection.connect(
      to: address, applicationName: applicationName, until: deadline)
    try await connection.perform(until: deadline, onConnect)
    return connection
  }

  private func giveBack(_ connection: PostgresConnection?) async {
    var usable: PostgresConnection?
    if let connection, await connection.isOpen { usable = connection }
    let (next, superfluous) = state.withLock { state -> (Waiter?, PostgresConnection?) in
      if state.isClosed { return (nil, usable) }
      if let usable { state.idle.append(usable) }
      if !state.waiting.isEmpty { return (state.waiting.removeFirst(), nil) }
      state.free += 1
      return (nil, nil)
    }
    next?.continuation.resume()
    await superfluous?.close()
  }

  // MARK: Waiting

  /// Waits until one more connection may be used.
  private func wait(until deadline: ContinuousClock.Instant) async throws {
    let isFree = try state.withLock { state in
      if state.isClosed { throw Self.closed }
      guard state.free > 0 else { return false }
      state.free -= 1
      return true
    }
    if isFree { return }
    let id = state.withLock { state in
      state.nextID += 1
      return state.nextID
    }
    // A child, which ends with this call.
    async let _: Void = expire(id, at: deadline)
    try await withTaskCancellationHandler {
      try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
        if let outcome = enter(Waiter(id: id, continuation: continuation), until: deadline) {
          continuation.resume(with: outcome)
        }
      }
    } onCancel: {
      giveUp(id, CancellationError())
    }
  }

  /// Puts someone in the line; returns what to tell at once instead.
  ///
  /// Whoever is cancelled or out of time before is told here, and afterwards by ``giveUp(_:_:)``: the lock is between the two.
  private func enter(_ waiter: Waiter, until deadline: ContinuousClock.Instant) -> Result<Void, any Error>? {
    state.withLock { state in
      if state.isClosed { return .failure(Self.closed) }
      if Task.isCancelled { return .failure(CancellationError()) }
      if deadline <= .now { return .failure(allBusy) }
      if state.free > 0 {
        state.free -= 1
        return .success(())
      }
      if state.waiting.count == Self.mostWaiting { return .failure(allBusy) }
      state.waiting.append(waiter)
      return nil
    }
  }

  private var allBusy: PostgresError {
    PostgresError(description: "all \(size) connections to the server are busy", state: nil)
  }

  private func expire(_ id: Int, at deadline: ContinuousClock.Instant) async {
    guard (try? await Task.sleep(until: deadline)) != nil else { return }
    giveUp(id, allBusy)
  }

  private func giveUp(_ id: Int, _ error: any Error) {
    let waiter = state.withLock { state in
      state.waiting.firstIndex { $0.id == id }.map { state.waiting.remove(at: $0) }
    }
    waiter?.continuation.resume(throwing: error)
  }
}
