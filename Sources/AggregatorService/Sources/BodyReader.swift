import AggregatorStorage
import Hummingbird
import NIOCore

/// Why a body is not taken.
enum BodyRejection: Error {
  case malformed(MessageSyntaxError)
  /// It is larger than what the option named here allows, on the wire or once it is inflated.
  case tooLarge(limit: Int, option: String)
  /// It is not coded as it says.
  case miscoded
  /// As many bytes are held as may be.
  case noMemory
}

/// Reads a body into the messages that are stored together.
///
/// Up to `--max-body` bytes that is all of it, and the request is stored as a whole or not at all. A larger body of lines comes in
/// parts of about that size, each stored before the next is read; so the memory that it takes is bounded, however long it is.
struct BodyReader {
  let format: MessageFormat
  let coding: ContentCoding?
  let rules: MessageRules
  let maximumBody: Int
  let maximumInflated: Int
  let memory: HeldBytes

  private var body: RequestBody.AsyncIterator
  private let inflater: Inflater?
  private var buffer = ByteBuffer()
  private var held = 0
  private var wireBytes = 0
  private var isAtEnd = false
  /// Messages and lines in the parts that have been given out.
  private(set) var messagesBefore = 0
  private var linesBefore = 0

  init(
    _ body: RequestBody, format: MessageFormat, coding: ContentCoding?, rules: MessageRules, options: ProgramOptions,
    memory: HeldBytes
  ) {
    self.body = body.makeAsyncIterator()
    self.format = format
    self.coding = coding
    self.rules = rules
    maximumBody = options.maximumBody
    maximumInflated = options.maximumInflatedBody
    self.memory = memory
    inflater = coding.map { Inflater($0, limit: options.maximumInflatedBody) }
  }

  /// Gives back what it holds; it cannot be used afterwards.
  mutating func close() {
    release()
  }

  /// The next messages; `nil` when there are no more.
  ///
  /// Those of the part before count as held no more.
  ///
  /// - Throws: ``BodyRejection``, or what the connection says when the client has gone.
  mutating func next() async throws -> [Message]? {
    release()
    guard !isAtEnd else { return nil }
    // What is left of the part before is held again.
    try hold(buffer.readableBytes)
    while let bytes = try await body.next(isolation: #isolation) {
      try take(bytes)
      if format == .newlineDelimited, buffer.readableBytes > maximumBody {
        if let part = cutWholeLines() { return try messages(in: part) }
        guard buffer.readableBytes <= rules.maximumSize else { throw BodyRejection.malformed(lineTooLong()) }
      }
    }
    isAtEnd = true
    if let inflater, !inflater.isAtEnd, wireBytes > 0 { throw BodyRejection.miscoded }
    let part = buffer
    buffer = ByteBuffer()
    return try messages(in: part)
  }

  private mutating func take(_ bytes: ByteBuffer) throws {
    wireBytes += bytes.readableBytes
    // Lines may go on for ever, but what is inflated has a limit, and so has what lies in memory as a whole.
    guard format == .newlineDelimited && inflater == nil || wireBytes <= maximumBody else {
      throw BodyRejection.tooLarge(limit: maximumBody, option: "--max-body")
    }
    let before = buffer.readableBytes
    if let inflater {
      try inflate(bytes, inflater)
    } else {
      var bytes = bytes
      buffer.writeBuffer(&bytes)
    }
    try hold(buffer.readableBytes - before)
  }

  private mutating func inflate(_ bytes: ByteBuffer, _ inflater: Inflater) throws(BodyRejection) {
    let result = bytes.withUnsafeReadableBytes { part -> Result<Void, Inflater.Failure> in
      do throws(Inflater.Failure) {
        try inflater.inflate(part.bindMemory(to: UInt8.self)) { buffer.writeBytes($0) }
        return .success(())
      } catch {
        return .failure(error)
      }
    }
    switch result {
    case .success: break
    case .failure(.tooLarge): throw .tooLarge(limit: maximumInflated, option: "--max-inflated-body")
    case .failure(.malformed): throw .miscoded
    }
  }

  private func lineTooLong() -> MessageSyntaxError {
    MessageSyntaxError(
      line: linesBefore + 1, column: 1, reason: "the line is longer than --max-message (\(rules.maximumSize)) lets in",
      isTooLarge: true)
  }

  /// Takes the whole lines out of the buffer; `nil` while there is none.
  private mutating func cutWholeLines() -> ByteBuffer? {
    guard let newline = buffer.readableBytesView.lastIndex(of: 0x0A) else { return nil }
    return buffer.readSlice(length: newline + 1 - buffer.readerIndex)
  }

  private mutating func messages(in part: ByteBuffer) throws -> [Message] {
    let messages: [Message]
    do {
      messages = try Message.all(in: part.readableBytesView, format: format, rules: rules, before: messagesBefore)
    } catch {
      var error = error
      error.line += linesBefore
      throw BodyRejection.malformed(error)
    }
    messagesBefore += messages.count
    linesBefore += part.readableBytesView.count { $0 == 0x0A }
    return messages
  }

  private mutating func hold(_ bytes: Int) throws {
    guard memory.hold(bytes) else { throw BodyRejection.noMemory }
    held += bytes
  }

  private mutating func release() {
    memory.giveBack(held)
    held = 0
  }
}
