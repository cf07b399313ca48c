import PostgresClient

/// Messages in the form in which they are sent.
///
/// Of batches of 500 messages of 200 bytes, COPY stores up to a fifth more in a second than an array for each column does (of 5,000,
/// six tenths more), and that a third more than COPY into a temporary table and INSERT from there. COPY cannot pass over what is
/// there already, so it is for those without identities.
struct PostgresBatch: Sendable {
  private enum Form {
    case rows([UInt8])
    case arrays([PostgresParameter])
  }

  private let form: Form

  init(_ messages: [Message]) {
    let bytes = messages.reduce(0) { $0 + $1.body.utf8.count }
    if messages.contains(where: { $0.identity != nil }) {
      form = .arrays([
        PostgresArray.times(messages.map(\.receivedAt)),
        PostgresArray.documents(messages.map(\.body), bytes: bytes),
        PostgresArray.texts(messages.map(\.identity)),
      ])
    } else {
      var rows = CopyRows(columns: 2, capacity: bytes + messages.count * 18)
      for message in messages {
        rows.beginRow()
        rows.append(time: message.receivedAt)
        rows.append(message.body)
      }
      form = .rows(rows.finish())
    }
  }

  /// Stores them in their order, in a transaction that it begins, or that has begun.
  func store(in table: String, _ session: PostgresSession, beginning: Bool) throws {
    switch form {
    case .rows(let rows):
      let copy = "COPY \(table) (received_at, body) FROM STDIN (FORMAT binary)"
      try session.copy(beginning ? "BEGIN; \(copy)" : copy, rows)
    case .arrays(let arrays):
      if beginning { try session.query("BEGIN") }
      try session.query(
        """
        INSERT INTO \(table) (received_at, body, identity)
        SELECT received_at, body, identity
        FROM unnest($1::timestamptz[], $2::json[], $3::text[])
          WITH ORDINALITY AS messages (received_at, body, identity, place)
        ORDER BY place
        ON CONFLICT (identity) WHERE identity IS NOT NULL DO NOTHING
        """, arrays)
    }
  }
}
