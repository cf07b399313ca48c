import Batching
import Logging
import Synchronization

/// Hands the messages of a journal to an aggregator, in their order.
///
/// A stream for whose messages there is no room, because its place in the sink does not work or it has had its share, falls
/// behind: a task of its own reads it and waits for room, and the others are read on. Those tasks hold what they have read, so
/// in memory are the aggregator's capacity, and a chunk for each stream that is behind.
final class JournalReader: Sendable {
  private struct State {
    /// All up to it has been handed over, or is left to those who feed streams that are behind.
    var cursor: Int64 = 0
    var behind: Set<StreamName> = []
  }

  /// The most bytes that are read at once.
  private static let chunkBytes = 1 << 20

  private let journal: Journal
  private let aggregator: KeyedAggregator<StreamName, Journal.Entry>
  private let chunkSize: Int
  private let logger: Logger
  private let state = Mutex(State())

  init(
    journal: Journal, aggregator: KeyedAggregator<StreamName, Journal.Entry>, chunkSize: Int, logger: Logger
  ) {
    self.journal = journal
    self.aggregator = aggregator
    self.chunkSize = chunkSize
    self.logger = logger
  }

  /// Reads until the aggregator takes no more, or the task is cancelled.
  ///
  /// - Throws: ``JournalError`` when the journal cannot be read, and never will.
  func run() async throws {
    var wakeups = journal.appended.makeAsyncIterator()
    try await withThrowingDiscardingTaskGroup { group in
      var isOpen = true
      while isOpen, !Task.isCancelled {
        if state.withLock({ $0.cursor }) < journal.lastSequence {
          isOpen = try await readOn(&group)
        } else {
          // Told of messages that were appended, of streams that are behind no longer, and of the end.
          isOpen = await wakeups.next() != nil && !isClosed
        }
      }
      group.cancelAll()
    }
  }

  /// Whether the aggregator has been shut down; asked when nothing is to be read.
  private let closed = Atomic(false)

  private var isClosed: Bool { closed.load(ordering: .relaxed) }

  /// Makes it end.
  func stop() {
    closed.store(true, ordering: .relaxed)
    journal.ring()
  }

  /// Reads and hands over once; returns whether the aggregator takes more.
  private func readOn(_ group: inout ThrowingDiscardingTaskGroup<any Error>) async throws -> Bool {
    let (cursor, behind) = state.withLock { ($0.cursor, $0.behind) }
    guard let chunk = try await read(after: cursor, through: journal.lastSequence, .allBut(behind)) else {
      return false
    }
    let lagging = state.withLock { state in
      state.cursor = chunk.through
      // Who fed them may have ended while this was read; they have come up to the cursor as it was.
      let lagging = chunk.passedOver.subtracting(state.behind)
      state.behind.formUnion(lagging)
      return lagging
    }
    for stream in lagging { group.addTask { try await self.feed(stream, after: cursor) } }
    var full: Set<StreamName> = []
    for entry in chunk.entries where !full.contains(entry.stream) {
      switch aggregator.trySend(entry) {
      case .accepted: break
      case .closed: return false
      case .full, .tooHeavy:
        full.insert(entry.stream)
        state.withLock { _ = $0.behind.insert(entry.stream) }
        group.addTask { try await self.feed(entry.stream, after: entry.sequence - 1) }
      }
    }
    return true
  }

  /// Hands over the messages of one stream, waiting for room, until it has come to where the others are.
  private func feed(_ stream: StreamName, after start: Int64) async throws {
    var position = start
    while true {
      let goal: Int64? = state.withLock { state in
        if position < state.cursor { return state.cursor }
        state.behind.remove(stream)
        return nil
      }
      journal.ring()
      guard let goal, let chunk = try await read(after: position, through: goal, .only(stream)) else { return }
      do {
        try await aggregator.send(contentsOf: chunk.entries)
      } catch {
        return  // It was shut down, or this was cancelled.
      }
      position = chunk.through
    }
  }

  /// Reads, and tries again as long as what is wrong may pass; `nil` at the end.
  private func read(after: Int64, through: Int64, _ selection: Journal.Selection) async throws -> Journal.Chunk? {
    var backOff = Duration.milliseconds(50)
    while !Task.isCancelled, !isClosed {
      do {
        return try await journal.chunk(
          after: after, through: through, limit: chunkSize, bytes: Self.chunkBytes, of: selection)
      } catch let error as JournalError where error.isRetryable {
        logger.error("reading the journal failed, to be tried again", metadata: ["error": "\(error)"])
        try? await Task.sleep(for: backOff)
        backOff = min(backOff * 2, .seconds(5))
      } catch is CancellationError {
        return nil
      }
    }
    return nil
  }
}
