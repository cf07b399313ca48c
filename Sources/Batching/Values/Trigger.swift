/// What first made a batch due.
public struct Trigger: Sendable, Hashable, CustomStringConvertible {
  enum Kind: Int, CaseIterable { case size, weight, linger, flush, shutdown, split }

  let kind: Kind

  init(_ kind: Kind) { self.kind = kind }

  /// The batch reached `batchSize`.
  public static let size = Trigger(.size)
  /// The batch reached `maximumBatchWeight`, or the next message would have gone past it.
  public static let weight = Trigger(.weight)
  /// The batch's first message was `linger` old.
  public static let linger = Trigger(.linger)
  /// `flush()` was called.
  public static let flush = Trigger(.flush)
  /// The aggregator was shut down, or its `run()` cancelled.
  public static let shutdown = Trigger(.shutdown)
  /// The batch is a part of one that failed, halved to isolate its poison messages.
  public static let split = Trigger(.split)

  /// The trigger's name.
  public var description: String { "\(kind)" }
}

extension Trigger: CaseIterable {
  /// Every trigger there is.
  public static var allCases: [Trigger] { Kind.allCases.map(Trigger.init) }
}
