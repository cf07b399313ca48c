import Foundation
import Synchronization

/// Stores messages in NDJSON files, a folder for each stream, each batch on the disk when it is stored.
///
/// - A file is `FOLDER/STREAM/20261125T070000.123456Z-000001.ndjson` (``FileName``), and names sort in the order of writing.
///   While it is written to, `.open` follows: what has no `.open` is whole, and is not touched any more.
/// - A file is finished when the next batch would make it larger than `rotationSize`, when it is `rotationTime` old, also
///   when nothing comes any more (one timer for each open file), and at the end.
/// - A batch is all or none: what fails is cut off again; what a killed process leaves is cut off at the next start. After a
///   power failure whole lines of a batch that was not yet stored may stay (``BatchMark``); not when compressed, where
///   a batch is a gzip member.
/// - Identities are not kept: a message that is sent again is stored again.
/// - An open file of a stream takes two file descriptors, one when compressed.
package final class FileSink: Sink {
  private struct State {
    var streams: [StreamName: StreamFolder] = [:]
    var lock: FolderLock?
  }

  /// Longer would be more than a timer can count; it is a hundred years.
  private static let longestTime = Duration.seconds(36_500 * 86_400)

  private let folder: String
  private let rules: StreamFolder.Rules
  private let state: Mutex<State>
  private let prober: Prober

  /// Takes the folder for this process, makes it where it is missing, and cuts off what a crash has left.
  ///
  /// It blocks.
  ///
  /// - Parameters:
  ///   - folder: Its path; the folder around it has to be there.
  ///   - rotationSize: The most bytes of a file, as they are on the disk; at least 1. A larger batch has a file of its own.
  ///   - rotationTime: How old a file becomes; more than zero.
  ///   - compresses: Whether each batch is a gzip member.
  ///   - now: The time, in microseconds since 1970-01-01 UTC.
  /// - Throws: ``ProgramError`` that says what is wrong with the folder, and what to do.
  package init(
    folder: String, rotationSize: Int = 128 << 20, rotationTime: Duration = .seconds(3_600), compresses: Bool = false,
    now: @escaping @Sendable () -> Int64 = { Int64(Date().timeIntervalSince1970 * 1_000_000) }
  ) throws(ProgramError) {
    guard rotationSize >= 1 else {
      throw ProgramError("files of \(rotationSize) bytes hold nothing: give a rotation size of at least 1")
    }
    guard rotationTime > .zero else {
      throw ProgramError("a rotation time of \(rotationTime) would finish each file at once: give more than 0")
    }
    // A path that ends in / would be its own parent.
    let folder = folder.count > 1 && folder.hasSuffix("/") ? String(folder.dropLast()) : folder
    do {
      try Folder.make(folder)
    } catch {
      throw ProgramError("cannot store in '\(folder)': \(error)")
    }
    let lock = try FolderLock(folder)
    do {
      try FileRecovery.recover(folder)
    } catch {
      throw ProgramError("cannot store in '\(folder)': \(error)")
    }
    self.folder = folder
    rules = StreamFolder.Rules(
      rotationSize: rotationSize, rotationTime: min(rotationTime, Self.longestTime), compresses: compresses, now: now)
    state = Mutex(State(lock: lock))
    prober = Prober(folder)
  }

  package func write(_ messages: [Message], to stream: StreamName) async throws {
    guard !messages.isEmpty else { return }
    let files: StreamFolder? = state.withLock { state in
      guard state.lock != nil else { return nil }
      let files = state.streams[stream] ?? StreamFolder("\(folder)/\(stream)", rules: rules)
      state.streams[stream] = files
      return files
    }
    guard let files else { throw SinkError(description: "file:\(folder): it is closed", isRetryable: false) }
    do {
      try await files.write(messages)
    } catch {
      throw explain(error)
    }
  }

  private func explain(_ error: SystemError) -> SinkError {
    SinkError(description: "file:\(folder): \(error)", isRetryable: error.mayPass)
  }

  /// Makes a small file and takes it away again, which a full disk or a missing folder does not let it.
  package func check() async throws {
    do {
      try await prober.probe()
    } catch {
      throw explain(error)
    }
  }

  /// Finishes all files, and lets go of the folder.
  package func close() async throws {
    let (streams, lock) = state.withLock { state in
      defer { state = State() }
      return (state.streams.values, state.lock)
    }
    var failure: SystemError?
    for files in streams {
      do {
        try await files.close()
      } catch {
        failure = error
      }
    }
    // Only now may another process come.
    withExtendedLifetime(lock) {}
    if let failure { throw explain(failure) }
  }
}

/// Finds out whether files can be made.
private actor Prober {
  private let folder: String
  private let executor: QueueExecutor

  nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

  init(_ folder: String) {
    self.folder = folder
    executor = QueueExecutor(label: "check of \(folder)")
  }

  func probe() throws(SystemError) {
    let name = ".check"
    let result: Result<Void, SystemError>
    do throws(SystemError) {
      // A byte, because a full disk makes empty files.
      try Descriptor("\(folder)/\(name)", O_WRONLY | O_CREAT | O_TRUNC).write([0], at: 0)
      result = .success(())
    } catch {
      result = .failure(error)
    }
    try? Folder.remove(name, in: folder)
    try result.get()
  }
}
