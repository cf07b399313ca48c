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
    case .standardOutput:
      return StandardOutputSink()
    case .postgres:
      throw ProgramError("not built yet")
    }
  }
}
