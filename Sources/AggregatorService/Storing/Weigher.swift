import Synchronization

/// What requests weigh: the part of a full batch that their messages are.
///
/// The bound of a batch's weight cannot change while an aggregator runs, but the batch size can.
final class Weigher: Sendable {
  /// The weight of a full batch: 2⁸ · 3³ · 5⁶ · 7 · 11.
  ///
  /// Most sizes that people choose divide it, so that so many messages fill a batch exactly. With any other size a batch of
  /// requests with several messages each may be seen to be full only when the next one comes, or linger is over. The weights of
  /// all that can be held do not overflow.
  static let fullBatch = 8_316_000_000

  private let batchSize: Atomic<Int>

  init(batchSize: Int) {
    self.batchSize = Atomic(batchSize)
  }

  func setBatchSize(_ size: Int) {
    batchSize.store(size, ordering: .relaxed)
  }

  /// What a request with so many messages weighs: no more than a batch may, and not nothing.
  func weight(of messages: Int) -> Int {
    let batchSize = batchSize.load(ordering: .relaxed)
    return messages >= batchSize ? Self.fullBatch : max(1, messages * (Self.fullBatch / batchSize))
  }
}
