import GRDB

extension DeadLetters {
  /// What a replay has done.
  package struct Replay: Sendable {
    /// Letters that are in the sink, and no longer here.
    package var stored = 0
    /// Letters that are refused again; they are here with the new error.
    package var refused = 0
    /// Why it ended early, such as that the sink cannot be reached; what it did not come to is here as it was.
    package var stoppedBy: (any Error)?
  }

  /// The most bytes of bodies that a replay reads at once, the last one left aside.
  private static let replayedBytes = 16 << 20

  /// Writes letters to a sink, stream by stream, in their order, and removes those that are stored.
  ///
  /// A batch that is refused is halved until those that are refused stand alone. When the process ends between the sink's
  /// commit and the removal, the next replay writes letters again, with the same identities.
  ///
  /// - Parameters:
  ///   - selection: Which letters.
  ///   - sink: Where to.
  ///   - batchSize: The most letters written at once.
  /// - Returns: What it did; the first failure that is no refusal ends it.
  /// - Throws: ``JournalError``, `CancellationError`; what was stored before is removed.
  package func replay(
    _ selection: Selection, into sink: any Sink, batchSize: Int = 500
  ) async throws -> Replay {
    var replay = Replay()
    var last: Int64 = 0
    while replay.stoppedBy == nil {
      try Task.checkCancellation()
      let letters = try await read(
        selection, limit: batchSize, after: last, bytes: Self.replayedBytes, bodies: true)
      guard let end = letters.last else { break }
      for stream in Set(letters.map(\.stream)).sorted() where replay.stoppedBy == nil {
        try await write(letters.filter { $0.stream == stream }, of: stream, to: sink, &replay)
      }
      last = end.id
    }
    return replay
  }

  private func write(
    _ letters: [DeadLetter], of stream: StreamName, to sink: any Sink, _ replay: inout Replay
  ) async throws {
    let outcome = await IsolatingWrite(count: letters.count) { range, _ in
      try await sink.write(letters[range].map { $0.message() }, to: stream)
    }
    let stored = outcome.stored(of: letters.count).map { letters[$0].id }
    let refused = outcome.refused.map { (id: letters[$0.key].id, refusal: $0.value) }
    try await JournalError.explaining(path, "drop dead letters in") {
      try await file.pool.write { database in
        let delete = try database.cachedStatement(sql: "DELETE FROM dead_letters WHERE id = ?")
        for id in stored { try delete.execute(arguments: [id]) }
        let update = try database.cachedStatement(
          sql: "UPDATE dead_letters SET error = ?, attempts = attempts + ?, failed_at = ? WHERE id = ?")
        for (id, refusal) in refused {
          try update.execute(arguments: ["\(refusal)", refusal.attempts, JournalFile.now, id])
        }
      }
    }
    replay.stored += stored.count
    replay.refused += refused.count
    replay.stoppedBy = outcome.stopped?.error
  }
}
