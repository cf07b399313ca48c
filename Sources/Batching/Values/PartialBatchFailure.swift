/// A handler throws it to say that some messages of its batch failed and the others are handled.
///
/// Only those that it names are tried again. An offset outside the batch is a mistake of the handler's, and the whole
/// attempt counts as failed: better a message twice than one that is lost.
///
/// ```swift
/// throw PartialBatchFailure([3: DuplicateKey(), 7: RowTooLong()])
/// ```
public struct PartialBatchFailure: Error {
  /// Why each message failed, by its offset in the batch.
  public var failures: [Int: any Error]

  /// Makes a failure of the messages at the given offsets, each with its own error.
  public init(_ failures: [Int: any Error]) {
    self.failures = failures
  }
}

extension PartialBatchFailure: CustomStringConvertible {
  /// The offsets in their order, each with its error.
  public var description: String {
    let list = failures.sorted { $0.key < $1.key }.map { "\($0.key): \($0.value)" }
    return "PartialBatchFailure([\(list.joined(separator: ", "))])"
  }
}
