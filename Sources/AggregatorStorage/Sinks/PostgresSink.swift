package import Logging
import PostgresClient
import Synchronization

/// Stores messages in a PostgreSQL database, a table for each stream, a transaction a batch, durable when it is committed.
///
/// A commit whose answer is lost (the connection breaks after it was sent, and before the server has answered) is a failure
/// that may be tried again: whether the messages are stored is not known. Those with identities are stored once all the same,
/// because the repeat passes over them; those without may be there twice. Nothing else is in doubt, since `COMMIT` is sent apart
/// and after everything else has been answered: a transaction that the server has not been told to commit is rolled back when
/// the connection ends.
package final class PostgresSink: Sink {
  private let address: PostgresAddress
  private let pool: PostgresPool
  /// A connection for ``check()`` alone, which must not wait behind batches.
  private let checks: PostgresPool
  private let timeout: Duration
  /// Streams whose tables are known to be right, and what their tables are called.
  private let prepared = Mutex<[StreamName: String]>([:])

  /// Reads the address; connects when something is written.
  ///
  /// - Parameters:
  ///   - uri: `postgres://…` with libpq's parameters. Tables are in the first schema of its `search_path`.
  ///   - connections: The most batches stored at once, each on a connection; one more is for ``check()``.
  ///   - logger: For what is odd with the server.
  ///   - timeout: How long a batch may take, connecting included. Then it has failed, and may be tried again.
  /// - Throws: ``ProgramError`` when the address is malformed.
  package init(uri: String, connections: Int, logger: Logger, timeout: Duration = .seconds(30)) throws(ProgramError) {
    do {
      address = try PostgresAddress(uri: uri)
    } catch {
      throw ProgramError("\(error)")
    }
    self.timeout = timeout
    let setUp = PostgresSetUp(timeout: timeout, logger: logger, address: "\(address)")
    pool = PostgresPool(
      address: address, applicationName: "aggregator", size: max(connections, 1), onConnect: setUp.run)
    checks = PostgresPool(address: address, applicationName: "aggregator (check)", size: 1)
  }

  package func write(_ messages: [Message], to stream: StreamName) async throws {
    guard !messages.isEmpty else { return }
    let batch = PostgresBatch(messages)
    let known = prepared.withLock { $0[stream] }
    do {
      let table = try await pool.perform(until: .now + timeout) { session in
        if let known {
          try batch.store(in: known, session, beginning: true)
        } else {
          // Made in the transaction that first needs it: a name that a client made up leaves nothing behind when it fails.
          try session.query("BEGIN")
        }
        let table = try known ?? PostgresTable(stream, session).prepare()
        if known == nil { try batch.store(in: table, session, beginning: false) }
        try session.query("COMMIT")
        return table
      }
      prepared.withLock { $0[stream] = table }
    } catch let error as PostgresError {
      // The table may be gone, or other than it was: the next attempt looks, and makes it or says what is wrong.
      let isObject = error.state?.hasPrefix("42") == true
      if isObject { prepared.withLock { $0[stream] = nil } }
      throw sinkError(error, isRetryable: mayPass(error) || (isObject && known != nil))
    } catch let error as ProgramError {
      // It is the table that is wrong and not the messages: they wait until somebody has mended it.
      throw SinkError(description: "\(address): \(error)", isRetryable: true)
    }
  }

  /// Makes the table of a stream now, so that one that is unfit is told at the start.
  ///
  /// - Throws: ``ProgramError`` for what stays as it is until somebody changes it: a parameter of the URI, user, password, database,
  ///   permissions, a table with other columns. ``SinkError``, which is retryable, for a server that is down.
  package func prepare(_ stream: StreamName) async throws {
    do {
      let table = try await pool.perform(until: .now + timeout) { session in
        try session.query("BEGIN")
        let table = PostgresTable(stream, session)
        let name = try table.prepare()
        try table.checkPermission()
        try session.query("COMMIT")
        return name
      }
      prepared.withLock { $0[stream] = table }
    } catch let error as PostgresError {
      if isDown(error) { throw sinkError(error, isRetryable: true) }
      throw ProgramError("cannot store in '\(address)': \(words(error))")
    } catch let error as ProgramError {
      throw ProgramError("cannot store in '\(address)': \(error)")
    }
  }

  package func check() async throws {
    let isReadOnly: Bool
    do {
      isReadOnly = try await checks.perform(until: .now + min(timeout, .seconds(3))) { session in
        let answer = try session.query(
          "SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean")
        return answer.firstValue == "t"
      }
    } catch let error as PostgresError {
      throw sinkError(error, isRetryable: true)
    }
    if isReadOnly {
      throw SinkError(description: "\(address): the server takes no writes now (a standby?)", isRetryable: true)
    }
  }

  package func close() async throws {
    await pool.close()
    await checks.close()
  }

  private func sinkError(_ error: PostgresError, isRetryable: Bool) -> SinkError {
    SinkError(description: "\(address): \(words(error))", isRetryable: isRetryable)
  }
}
