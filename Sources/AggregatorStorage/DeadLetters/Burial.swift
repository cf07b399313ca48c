import GRDB

/// A message that is to become a dead letter.
package struct Burial: Sendable {
  package let stream: StreamName
  package let message: Message
  /// Where it is in the journal; `nil` when it comes from elsewhere.
  package let sequence: Int64?
  /// Why the sink refused it.
  package let error: String
  /// How often it was given to the sink.
  package let attempts: Int

  /// Makes one of a message that was never in a journal.
  package init(stream: StreamName, message: Message, error: String, attempts: Int) {
    self.stream = stream
    self.message = message
    sequence = nil
    self.error = error
    self.attempts = attempts
  }

  /// Makes one of a message in the journal.
  package init(_ entry: Journal.Entry, error: String, attempts: Int) {
    stream = entry.stream
    message = entry.message
    sequence = entry.sequence
    self.error = error
    self.attempts = attempts
  }

  /// Puts it with the dead letters.
  ///
  /// One with its identity may be there: refused before the process ended, and not yet removed from the journal. It stays one.
  func insert(_ database: Database) throws {
    let insert = try database.cachedStatement(
      sql: """
        INSERT INTO dead_letters (stream, received_at, size, failed_at, attempts, error, identity, body)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?)
        ON CONFLICT (stream, identity) WHERE identity IS NOT NULL
        DO UPDATE SET failed_at = excluded.failed_at, attempts = attempts + excluded.attempts, error = excluded.error
        """)
    try insert.execute(
      arguments: [
        stream.description, message.receivedAt, message.body.utf8.count, JournalFile.now, attempts, error,
        message.identity, message.body,
      ])
  }
}
