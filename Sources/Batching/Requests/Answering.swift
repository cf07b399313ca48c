/// How a batch of requests becomes results, one for each.
package struct Answering<Request: Sendable, Response: Sendable>: Sendable {
  package typealias Results = [Result<Response, any Error>]

  private let results: @Sendable (Batch<Request>) async throws -> Results

  /// The handler has a response for each request, or throws.
  package init(_ handler: @escaping @Sendable (Batch<Request>) async throws -> [Response]) {
    self.init(results: { requests in
      do {
        return try await handler(requests).map { .success($0) }
      } catch let partial as PartialBatchFailure where partial.failures.keys.allSatisfy(requests.indices.contains) {
        // It says that the others are handled, and has no responses for them.
        return requests.indices.map {
          .failure(partial.failures[$0] ?? AggregatorError.wrongNumberOfAnswers(0, to: requests.count))
        }
      }
    })
  }

  /// The handler has a response or an error for each request, or throws.
  package init(results handler: @escaping @Sendable (Batch<Request>) async throws -> Results) {
    results = { requests in
      let results = try await handler(requests)
      guard results.count == requests.count else {
        throw AggregatorError.wrongNumberOfAnswers(results.count, to: requests.count)
      }
      return results
    }
  }

  /// Prepares the answers of a batch of calls.
  ///
  /// - Throws: What the handler threw; a `PartialBatchFailure` when it has errors for some.
  func answer(_ batch: Batch<Call<Request, Response>>) async throws {
    let results = try await results(
      Batch(
        messages: batch.map(\.request), trigger: batch.trigger, attempt: batch.attempt,
        sequenceNumber: batch.sequenceNumber))
    var failures: [Int: any Error] = [:]
    for (offset, result) in results.enumerated() {
      switch result {
      case .success:
        batch[offset].answer.prepare(result)
      case .failure(let error):
        batch[offset].answer.prepare(nil)
        failures[offset] = error
      }
    }
    if !failures.isEmpty { throw PartialBatchFailure(failures) }
  }
}

extension Answering where Request: Hashable {
  /// The same with one request for those that are equal.
  package func deduplicated() -> Answering {
    Answering(results: { batch in
      var places: [Request: Int] = [:]
      var requests: [Request] = []
      let placeOf = batch.map { request in
        if let place = places[request] { return place }
        places[request] = requests.count
        requests.append(request)
        return requests.count - 1
      }
      let results = try await results(
        Batch(
          messages: requests, trigger: batch.trigger, attempt: batch.attempt, sequenceNumber: batch.sequenceNumber))
      return placeOf.map { results[$0] }
    })
  }
}
