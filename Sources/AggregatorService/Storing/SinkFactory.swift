package import AggregatorStorage
package import Logging

/// Opens what `--to` names.
package enum SinkFactory {
  /// Opens a sink.
  ///
  /// - Parameters:
  ///   - options: Where to store, and how.
  ///   - stream: A stream whose place is made, or checked, at once; `nil` leaves that to the first write.
  ///   - logger: Told when a store that is down now is to be waited for.
  /// - Returns: The sink, open.
  /// - Throws: ``ProgramError`` that says why it cannot be opened.
  package static func open(
    _ options: ProgramOptions, preparing stream: StreamName?, logger: Logger
  ) async throws -> any Sink {
    switch options.target {
    case .sqlite(let path):
      let sink = try SQLiteSink(path: path)
      if let stream { try sink.prepare(stream) }
      return sink
    case .http(let url):
      return try HTTPSink(url: url, requestTimeout: options.storeTimeout ?? .seconds(60))
    case .files(let folder):
      return try FileSink(
        folder: folder, rotationSize: options.rotationSize, rotationTime: options.rotationTime,
        compresses: options.compressesFiles)
    case .log(let url):
      return try LogEngines.engine(for: url).sink(url, options, logger)
    case .standardOutput:
      return StandardOutputSink()
    case .postgres(let uri):
      return try await postgres(uri, options, preparing: stream, logger)
    }
  }

  private static func postgres(
    _ uri: String, _ options: ProgramOptions, preparing stream: StreamName?, _ logger: Logger
  ) async throws -> any Sink {
    // One more than writes at once, so that checking does not wait behind them.
    let sink = try PostgresSink(
      uri: uri, connections: options.concurrency + 1, logger: logger, timeout: options.storeTimeout ?? .seconds(60))
    guard let stream else { return sink }
    do {
      try await sink.prepare(stream)
    } catch let error as SinkError where error.isRetryable {
      // It may come up later than this program; until then clients are told to come again, or the journal keeps all.
      logger.warning("the store does not answer, to be tried again", metadata: ["error": "\(error)"])
    } catch {
      try? await sink.close()
      throw error
    }
    return sink
  }
}
