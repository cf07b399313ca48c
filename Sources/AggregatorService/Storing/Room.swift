import AggregatorStorage
import Synchronization

/// Room for messages, shared by streams.
///
/// A stream may hold a batch's worth; beyond that it takes more only while it holds fewer than there is room left, so that one
/// busy stream leaves room for the others (the rule of ``KeyedAggregator``, counted in messages).
final class Room: Sendable {
  private struct State {
    var capacity: Int
    var share: Int
    var held = 0
    var byStream: [StreamName: Int] = [:]
  }

  private let state: Mutex<State>

  /// Makes room for `capacity` messages, of which a stream may hold `share` in any case.
  init(capacity: Int, share: Int) {
    state = Mutex(State(capacity: capacity, share: share))
  }

  /// Has another size from now on; what is held stays.
  func resize(capacity: Int, share: Int) {
    state.withLock {
      $0.capacity = capacity
      $0.share = share
    }
  }

  var held: Int { state.withLock { $0.held } }

  /// Takes room for messages; `false` when there is none.
  ///
  /// A stream that holds nothing may take all that there is.
  func take(_ messages: Int, for stream: StreamName) -> Bool {
    state.withLock { state in
      let room = state.capacity - state.held
      let own = state.byStream[stream, default: 0]
      guard messages <= room, own < state.share || own <= room else { return false }
      state.held += messages
      state.byStream[stream] = own + messages
      return true
    }
  }

  func giveBack(_ messages: Int, of stream: StreamName) {
    state.withLock { state in
      state.held -= messages
      let own = state.byStream[stream, default: 0] - messages
      state.byStream[stream] = own > 0 ? own : nil
    }
  }
}
