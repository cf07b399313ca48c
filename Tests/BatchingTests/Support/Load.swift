import Batching
import BatchingTesting
import Foundation

/// A number of producers that all send at the same time, and remember what was accepted.
///
/// Each message is `producer × stride + index`, so that a message tells its producer and its turn.
struct Load: Sendable {
  static let stride = 1_000_000

  /// Producers that are tasks: they send one by one, sequences, and without waiting, by turns.
  var tasks = 4
  /// Producers that are plain threads: they can only try.
  var threads = 0
  /// Messages that each producer offers.
  var messages = 1000

  /// How many messages have been accepted so far, for who wants to step in midway.
  let progress = Watched(0)

  /// Sends until all is sent, the aggregator is shut down, or the task is cancelled; returns what was accepted, in the
  /// order of each producer.
  func send(to aggregator: Aggregator<Int>) async throws -> [[Int]] {
    let threadResults = Watched<[[Int]]>([])
    for thread in 0..<threads {
      Thread.detachNewThread {
        let accepted = trying(producer: tasks + thread, aggregator)
        threadResults.change { $0.append(accepted) }
      }
    }
    let taskResults = await withTaskGroup { group in
      for producer in 0..<tasks {
        group.addTask { await sending(producer: producer, aggregator) }
      }
      return await group.reduce(into: [[Int]]()) { $0.append($1) }
    }
    let threads = threads
    await threadResults.waitIgnoringCancellation { $0.count == threads }
    return taskResults + threadResults.current
  }

  private func sending(producer: Int, _ aggregator: Aggregator<Int>) async -> [Int] {
    var accepted: [Int] = []
    var next = producer * Self.stride
    let end = next + messages
    do {
      while next < end {
        let before = accepted.count
        switch next % 8 {
        case 0:
          let chunk = next..<min(next + 5, end)
          next = chunk.upperBound
          do {
            try await aggregator.send(contentsOf: chunk)
            accepted += chunk
          } catch {
            accepted += chunk.prefix(error.acceptedCount)
            if error != .full { throw error }
          }
        case 5:
          if aggregator.trySend(next) == .accepted { accepted.append(next) }
          next += 1
        default:
          do {
            try await aggregator.send(next)
            accepted.append(next)
          } catch let error as AggregatorError where error == .full {
            await Task.yield()
          }
          next += 1
        }
        let more = accepted.count - before
        progress.change { $0 += more }
      }
    } catch {
      // Closed or cancelled: what was accepted until now is what counts.
    }
    return accepted
  }

  private func trying(producer: Int, _ aggregator: Aggregator<Int>) -> [Int] {
    var accepted: [Int] = []
    var next = producer * Self.stride
    let end = next + messages
    while next < end {
      switch aggregator.trySend(next) {
      case .accepted:
        accepted.append(next)
        progress.change { $0 += 1 }
        next += 1
      case .full: sched_yield()
      case .tooHeavy: next += 1
      case .closed: return accepted
      }
    }
    return accepted
  }
}

/// Asks for the statistics again and again from a thread of its own, and keeps those that cannot be.
final class Sampler: Sendable {
  private struct State: Sendable {
    var isStopped = false
    var isDone = false
    var samples = 0
    var wrong: [AggregatorStatistics] = []
  }

  private let state = Watched(State())

  /// Begins to sample; `capacity` is the most that may be held, `inFlight` the most that handlers may have.
  init(_ aggregator: Aggregator<Int>, capacity: Int, inFlight: Int) {
    let state = state
    Thread.detachNewThread {
      var last = AggregatorStatistics()
      while !state.current.isStopped {
        let next = aggregator.statistics
        let isRight =
          next.addsUp && next.held <= capacity && next.inFlight <= inFlight && next.inFlight <= next.held
          && next.accepted >= last.accepted && next.handled >= last.handled && next.failed >= last.failed
          && next.dropped >= last.dropped && next.retries >= last.retries && next.rejected >= last.rejected
        state.change {
          $0.samples += 1
          if !isRight, $0.wrong.count < 5 { $0.wrong += [last, next] }
        }
        last = next
        sched_yield()
      }
      state.change { $0.isDone = true }
    }
  }

  /// Ends the sampling and returns how many samples there were, and pairs of which the second cannot be.
  func stop() async -> (samples: Int, wrong: [AggregatorStatistics]) {
    state.change { $0.isStopped = true }
    await state.waitIgnoringCancellation { $0.isDone }
    return (state.current.samples, state.current.wrong)
  }
}
