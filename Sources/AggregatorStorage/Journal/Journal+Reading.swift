import GRDB

extension Journal {
  /// Messages of which streams are read.
  enum Selection: Sendable {
    case allBut(Set<StreamName>)
    case only(StreamName)

    func contains(_ stream: StreamName) -> Bool {
      switch self {
      case .allBut(let streams): !streams.contains(stream)
      case .only(let one): stream == one
      }
    }
  }

  /// What has been read at once.
  struct Chunk: Sendable {
    /// In their order.
    var entries: [Entry] = []
    /// The sequence number up to which all has been looked at.
    var through: Int64
    /// Streams of which messages were passed over.
    var passedOver: Set<StreamName> = []
  }

  /// How many messages of each stream there are.
  ///
  /// - Returns: The streams with messages.
  /// - Throws: ``JournalError``, `CancellationError`.
  package func messagesByStream() async throws -> [StreamName: Int] {
    try await JournalError.explaining(path, "read") {
      try await file.pool.read { database in
        let rows = try Row.fetchAll(database, sql: "SELECT stream, count(*) FROM journal GROUP BY stream")
        return try Dictionary(uniqueKeysWithValues: rows.map { (try self.stream($0[0]), $0[1] as Int) })
      }
    }
  }

  /// Reads messages in their order.
  ///
  /// - Parameters:
  ///   - sequence: The sequence number after which it begins.
  ///   - limit: The most messages read.
  ///   - bytes: The sum of sizes after which it stops; at least one message is read.
  /// - Returns: Those that there are.
  /// - Throws: ``JournalError``, `CancellationError`.
  package func entries(after sequence: Int64, limit: Int, bytes: Int = .max) async throws -> [Entry] {
    try await chunk(after: sequence, through: .max, limit: limit, bytes: bytes, of: .allBut([])).entries
  }

  /// Reads messages of some streams in their order, up to the sequence number `last`; it looks at `limit` of all streams at
  /// most.
  func chunk(
    after sequence: Int64, through last: Int64, limit: Int, bytes: Int, of selection: Selection
  ) async throws -> Chunk {
    try await JournalError.explaining(path, "read") {
      try await file.pool.read { database in
        var chunk = Chunk(through: sequence)
        var size = 0
        var count = 0
        let rows = try Row.fetchCursor(
          database.cachedStatement(sql: Self.query(for: selection)), arguments: [sequence, last, limit])
        while size < bytes {
          guard let row = try rows.next() else {
            // There are no more, or no more were asked for.
            if count < limit { chunk.through = last }
            break
          }
          count += 1
          chunk.through = row[0]
          let stream = try self.stream(row[1])
          guard selection.contains(stream) else {
            chunk.passedOver.insert(stream)
            continue
          }
          let message = Message(
            body: row[5], receivedAt: row[2], identity: row[4] as String? ?? "\(self.file.id)/\(chunk.through)")
          chunk.entries.append(Entry(sequence: chunk.through, stream: stream, message: message))
          size += message.size
        }
        return chunk
      }
    }
  }

  /// The query that reads no body of a message that is passed over from the disk.
  ///
  /// The names of streams need no quoting.
  private static func query(for selection: Selection) -> String {
    let body =
      switch selection {
      case .allBut(let streams) where streams.isEmpty: "body"
      case .allBut(let streams):
        "CASE WHEN stream IN (\(streams.sorted().map { "'\($0)'" }.joined(separator: ", "))) THEN NULL ELSE body END"
      case .only(let stream): "CASE WHEN stream = '\(stream)' THEN body END"
      }
    return """
      SELECT sequence, stream, received_at, size, identity, \(body) FROM journal
      WHERE sequence > ? AND sequence <= ? ORDER BY sequence LIMIT ?
      """
  }

  private func stream(_ name: String) throws -> StreamName {
    do {
      return try StreamName(name)
    } catch {
      throw JournalError("cannot read '\(path)': the database is damaged: \(error)", isRetryable: false)
    }
  }
}
