import CZlib

/// How the bytes of a body are coded (RFC 9110, section 8.4.1).
enum ContentCoding: Sendable {
  case gzip
  /// The zlib format (RFC 1950); bare deflate data (RFC 1951), which some clients send by that name, is understood too.
  case deflate

  /// Reads a `Content-Encoding`; `.none` for no coding.
  ///
  /// - Returns: `nil` for one that is not understood.
  static func named(_ field: String?) -> ContentCoding?? {
    switch field?.lowercased().filter({ $0 != " " }) {
    case nil, "", "identity": .some(.none)
    case "gzip", "x-gzip": .some(.gzip)
    case "deflate": .some(.deflate)
    default: .none
    }
  }
}

/// Inflates the parts of a body, one after the other.
final class Inflater {
  enum Failure: Error {
    /// It would become larger than it may.
    case tooLarge
    /// It is not what it says it is.
    case malformed
  }

  private var stream = z_stream()
  private var isOpen = false
  private let coding: ContentCoding
  private let limit: Int
  private var total = 0
  private let space = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: 1 << 16)
  /// Whether the last byte that was read ended the data.
  private(set) var isAtEnd = false

  /// Makes one that lets out at most `limit` bytes in all.
  init(_ coding: ContentCoding, limit: Int) {
    self.coding = coding
    self.limit = limit
  }

  deinit {
    if isOpen { inflateEnd(&stream) }
    space.deallocate()
  }

  private func open(firstByte: UInt8) throws(Failure) {
    // 16 is for gzip alone. A zlib stream begins with 8 in the low half of its first byte; bare deflate data hardly does.
    let windowBits: Int32 =
      switch coding {
      case .gzip: 15 + 16
      case .deflate: firstByte & 0x0F == 8 ? 15 : -15
      }
    guard CZlib_inflateInit2(&stream, windowBits) == Z_OK else { throw .malformed }
    isOpen = true
  }

  /// Inflates the next part of a body, and hands on what comes out, piece by piece.
  func inflate(_ part: UnsafeBufferPointer<UInt8>, _ take: (UnsafeBufferPointer<UInt8>) -> Void) throws(Failure) {
    guard let first = part.first else { return }
    if !isOpen { try open(firstByte: first) }
    // zlib does not write to it.
    stream.next_in = UnsafeMutablePointer(mutating: part.baseAddress)
    stream.avail_in = UInt32(part.count)
    stream.avail_out = 0
    while stream.avail_in > 0 || stream.avail_out == 0 {
      if isAtEnd {
        guard stream.avail_in > 0 else { return }
        // Several gzip members may follow each other (RFC 1952, section 2.2); other data has one end.
        guard case .gzip = coding, inflateReset(&stream) == Z_OK else { throw .malformed }
        isAtEnd = false
      }
      stream.next_out = space.baseAddress
      stream.avail_out = UInt32(space.count)
      let status = CZlib.inflate(&stream, Z_NO_FLUSH)
      let written = space.count - Int(stream.avail_out)
      total += written
      guard total <= limit else { throw .tooLarge }
      if written > 0 { take(UnsafeBufferPointer(rebasing: space[..<written])) }
      switch status {
      case Z_OK: break
      case Z_STREAM_END:
        isAtEnd = true
        if stream.avail_in == 0 { return }
      case Z_BUF_ERROR: return  // It needs more input.
      default: throw .malformed
      }
    }
  }
}
