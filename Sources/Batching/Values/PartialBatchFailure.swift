/// A handler throws it to say that some messages of its batch failed and the others are handled.
///
/// Only those that it names are tried again, those of them whose error is ``RetryAdvising`` as that says: again, again after
/// some time, or not at all. An offset outside the batch is a mistake of the handler's, and the whole attempt counts as
/// failed: better a message twice than one that is lost.
///
/// ```swift
/// throw PartialBatchFailure([3: DuplicateKey(), 7: RowTooLong()])
/// ```
///
/// From an endpoint that answers a batch with a status for each message:
///
/// ```swift
/// let answers = try await client.postBulk(batch)
/// try PartialBatchFailure.throwIfAny(answers.map { MessageError.httpStatus($0.status, retryAfter: $0.retryAfter) })
/// ```
public struct PartialBatchFailure: Error {
  /// Why each message failed, by its offset in the batch.
  public var failures: [Int: any Error]

  /// Makes a failure of the messages at the given offsets, each with its own error.
  public init(_ failures: [Int: any Error]) {
    self.failures = failures
  }

  /// Makes a failure from what became of each message, in the order of the batch; `nil` when all are handled.
  ///
  /// - Parameter errors: Why each message failed; `nil` for those that are handled.
  public init?(_ errors: some Sequence<(any Error)?>) {
    failures = [:]
    for (offset, error) in errors.enumerated() {
      if let error { failures[offset] = error }
    }
    if failures.isEmpty { return nil }
  }

  /// Throws if a message failed; the usual last line of a handler of a bulk endpoint.
  ///
  /// - Parameter errors: Why each message failed, in the order of the batch; `nil` for those that are handled.
  /// - Throws: A `PartialBatchFailure` of those that failed.
  public static func throwIfAny(_ errors: some Sequence<(any Error)?>) throws(PartialBatchFailure) {
    if let failure = PartialBatchFailure(errors) { throw failure }
  }

  /// Throws if a message failed, from a result for each.
  ///
  /// - Parameter results: What became of each message, in the order of the batch.
  /// - Throws: A `PartialBatchFailure` of those that failed.
  public static func throwIfAny<Success, Failure: Error>(
    in results: some Sequence<Result<Success, Failure>>
  ) throws(PartialBatchFailure) {
    try throwIfAny(
      results.map { result -> (any Error)? in
        if case .failure(let error) = result { error } else { nil }
      })
  }
}

extension PartialBatchFailure: CustomStringConvertible {
  /// The offsets in their order, each with its error.
  public var description: String {
    let list = failures.sorted { $0.key < $1.key }.map { "\($0.key): \($0.value)" }
    return "PartialBatchFailure([\(list.joined(separator: ", "))])"
  }
}
