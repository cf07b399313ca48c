import Dispatch
import Foundation

/// The files of one stream. What it does blocks, on a queue of its own.
actor StreamFolder {
  /// How the files of all streams are written.
  struct Rules: Sendable {
    var rotationSize: Int
    var rotationTime: Duration
    var compresses: Bool
    /// The time, in microseconds since 1970-01-01 UTC.
    var now: @Sendable () -> Int64
  }

  private let path: String
  private let rules: Rules
  private let executor: QueueExecutor

  private var file: OpenFile?
  /// Finishes `file` when it is old enough and nothing comes any more.
  private var timer: (any DispatchSourceTimer)?
  /// Whether the folder has been made, and been looked at for the last name in it.
  private var isReady = false
  /// The last name that was given.
  private var last: FileName?
  private var isClosed = false

  nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

  /// Touches nothing: the folder is made by the first write.
  init(_ path: String, rules: Rules) {
    self.path = path
    self.rules = rules
    executor = QueueExecutor(label: "files of \(path)")
  }

  /// Appends messages, all or none; they are on the disk when it returns.
  func write(_ messages: [Message]) throws(SystemError) {
    guard !isClosed else { throw SystemError(action: "write to '\(path)'", code: ESHUTDOWN) }
    let lines = Lines.encode(messages)
    let bytes = rules.compresses ? Gzip.member(lines) : lines
    let file = try file(for: bytes.count)
    try file.append(bytes)
    // They are stored: what fails now is for the next write, or for the timer.
    if file.length >= rules.rotationSize { try? finish() }
  }

  /// The file that takes so many bytes: the present one, or a new one.
  private func file(for count: Int) throws(SystemError) -> OpenFile {
    if let file {
      if try file.isDeleted() {
        // Perhaps with its folder.
        forget()
        isReady = false
      } else if file.length > 0, file.length + count > rules.rotationSize || isOld(file) {
        try finish()
      }
    }
    if let file { return file }
    if !isReady {
      try Folder.make(path)
      let names = try Folder.names(path).compactMap { FileName($0, isOpen: false) ?? FileName($0, isOpen: true) }
      last = (names + [last].compactMap(\.self)).max()
    }
    // Until a file is made: the folder may have gone, or be something else.
    isReady = false
    let name = FileName(now: rules.now(), after: last, isCompressed: rules.compresses)
    file = try OpenFile(name, in: path)
    last = name
    isReady = true
    startTimer()
    return try file(for: count)
  }

  private func isOld(_ file: OpenFile) -> Bool {
    .microseconds(rules.now() - file.name.begun) >= rules.rotationTime
  }

  /// Finishes the present file, if there is one.
  private func finish() throws(SystemError) {
    try file?.finish()
    forget()
  }

  private func forget() {
    file = nil
    timer?.cancel()
    timer = nil
  }

  /// One timer for a file, which asks nothing until the file is old.
  private func startTimer() {
    let timer = DispatchSource.makeTimerSource(queue: executor.queue)
    timer.schedule(deadline: .now() + rules.rotationTime / .seconds(1))
    timer.setEventHandler { [weak self] in
      // Where that fails, the next write does it.
      self?.assumeIsolated { try? $0.finish() }
    }
    timer.resume()
    self.timer = timer
  }

  /// Finishes the file; nothing is written after it.
  func close() throws(SystemError) {
    isClosed = true
    try finish()
  }
}
