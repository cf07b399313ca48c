import GRDB

extension Journal {
  /// Free pages that are kept for what comes next: 4 MiB.
  private static let spare = 1_024
  /// Pages that are given back in one transaction, between which others may write.
  private static let step = 4_096

  /// Gives space back to the file system when a backlog is gone.
  ///
  /// Free pages are used again, so there is nothing to do as long as they are few, or few beside those in use.
  func shrink() async throws {
    var hasShrunk = false
    while try await file.pool.writeWithoutTransaction({ try Self.shrinkByOneStep($0, messages: self.usage.messages) }) {
      hasShrunk = true
    }
    guard hasShrunk else { return }
    // It is the checkpoint that makes the file shorter. One that is in the way of a reader is left to the next.
    _ = try? await file.pool.writeWithoutTransaction { try $0.checkpoint(.truncate) }
  }

  private static func shrinkByOneStep(_ database: Database, messages: Int) throws -> Bool {
    let free = try Int.fetchOne(database.cachedStatement(sql: "PRAGMA freelist_count")) ?? 0
    guard free > spare else { return false }
    let all = try Int.fetchOne(database.cachedStatement(sql: "PRAGMA page_count")) ?? 0
    // Pages in use are moved to make the end free, so that has to be worthwhile.
    guard messages == 0 || free > 4 * (all - free) else { return false }
    try database.execute(sql: "PRAGMA incremental_vacuum(\(min(step, free - spare / 2)))")
    return true
  }
}
