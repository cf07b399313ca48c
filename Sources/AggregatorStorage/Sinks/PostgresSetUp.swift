import Logging
import PostgresClient
import Synchronization

/// What each new connection is told, so that "stored" means what it says.
final class PostgresSetUp: Sendable {
  private let sql: String
  private let logger: Logger
  private let address: String
  private let hasWarned = Mutex(false)

  init(timeout: Duration, logger: Logger, address: String) {
    self.logger = logger
    self.address = address
    // The server gives up before this side does, so that it is known what became of the statement, and so that one that waits
    // for a lock does not go on when nobody waits for it.
    let limit = max(1, Int(timeout / .milliseconds(1) * 0.8))
    // A user or a database can have synchronous_commit off by default: a crash would lose what was acknowledged.
    sql = """
      SET statement_timeout = \(limit);
      SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off';
      SELECT current_setting('fsync')
      """
  }

  /// Tells it.
  @Sendable func run(_ session: PostgresSession) throws {
    guard try session.query(sql).firstValue == "off" else { return }
    let isFirst = hasWarned.withLock { hasWarned in
      defer { hasWarned = true }
      return !hasWarned
    }
    if isFirst {
      logger.warning(
        "the server runs with fsync off: a crash of its machine may lose what was stored",
        metadata: ["sink": "\(address)"])
    }
  }
}
