import NIOCore
import Synchronization

/// Hands the newest event to everybody who listens, at equal times; while nobody does, none is made.
///
/// A listener that is slow gets the newest when it is ready for it, and misses those between: nothing piles up. One that has
/// taken nothing for long, or not even the end, is cut off.
final class EventFeed: Sendable {
  /// One who listens, for as long as this lives.
  final class Listener: Sendable {
    let events: AsyncStream<ByteBuffer>
    private let id: Int
    private let feed: EventFeed

    fileprivate init(id: Int, events: AsyncStream<ByteBuffer>, feed: EventFeed) {
      self.id = id
      self.events = events
      self.feed = feed
    }

    deinit { feed.leave(id) }
  }

  private struct Entry {
    let continuation: AsyncStream<ByteBuffer>.Continuation
    let channel: any Channel
    /// Events in a row that it did not take.
    var missed = 0
  }

  private struct State {
    var listeners: [Int: Entry] = [:]
    var nextID = 0
    var latest: ByteBuffer?
    var isPublishing = false
    var isFinished = false
  }

  /// The most who listen at once.
  static let mostListeners = 50
  /// Events that a listener may miss in a row.
  private static let mostMissed = 30
  /// How long a listener has to take the end.
  private static let patience = TimeAmount.seconds(2)

  private let state = Mutex(State())
  private let interval: Duration
  private let make: @Sendable () async throws -> ByteBuffer
  private let wakeUps: AsyncStream<Void>
  private let wakeUp: AsyncStream<Void>.Continuation

  init(interval: Duration, make: @escaping @Sendable () async throws -> ByteBuffer) {
    self.interval = interval
    self.make = make
    (wakeUps, wakeUp) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
  }

  var listeners: Int { state.withLock { $0.listeners.count } }

  /// Lets somebody listen; `nil` when there are too many, or it is over.
  func listen(on channel: any Channel) -> Listener? {
    let (events, continuation) = AsyncStream.makeStream(of: ByteBuffer.self, bufferingPolicy: .bufferingNewest(1))
    let (id, latest, isFirst) = state.withLock { state -> (Int?, ByteBuffer?, Bool) in
      guard !state.isFinished, state.listeners.count < Self.mostListeners else { return (nil, nil, false) }
      state.nextID += 1
      state.listeners[state.nextID] = Entry(continuation: continuation, channel: channel)
      return (state.nextID, state.latest, !state.isPublishing)
    }
    guard let id else { return nil }
    if let latest { continuation.yield(latest) }
    if isFirst { wakeUp.yield() }
    return Listener(id: id, events: events, feed: self)
  }

  private func leave(_ id: Int) {
    state.withLock { $0.listeners.removeValue(forKey: id) }?.continuation.finish()
  }

  /// Makes events while somebody listens, until it is cancelled or finished.
  func run() async throws {
    for await _ in wakeUps {
      while goesOn() {
        publish(try await make())
        try await Task.sleep(for: interval)
      }
    }
  }

  private func goesOn() -> Bool {
    state.withLock { state in
      state.isPublishing = !state.listeners.isEmpty
      // What is old by the time that somebody comes is not shown.
      if !state.isPublishing { state.latest = nil }
      return state.isPublishing
    }
  }

  private func publish(_ event: ByteBuffer) {
    let stuck = state.withLock { state -> [Entry] in
      state.latest = event
      var stuck: [Entry] = []
      for (id, entry) in state.listeners {
        if case .dropped = entry.continuation.yield(event) {
          state.listeners[id]?.missed += 1
          if entry.missed >= Self.mostMissed { stuck.append(entry) }
        } else {
          state.listeners[id]?.missed = 0
        }
      }
      return stuck
    }
    for entry in stuck {
      entry.continuation.finish()
      entry.channel.close(promise: nil)
    }
  }

  /// Ends every listener's events; nobody can listen any more.
  func finish() {
    let listeners = state.withLock { state in
      state.isFinished = true
      return Array(state.listeners.values)
    }
    wakeUp.finish()
    for entry in listeners {
      entry.continuation.finish()
      let channel = entry.channel
      channel.eventLoop.scheduleTask(in: Self.patience) { channel.close(promise: nil) }
    }
  }
}
