import CZlib

/// Batches as gzip members (RFC 1952).
///
/// Members one after the other are a file that any gunzip reads.
enum Gzip {
  /// zlib's sign for a gzip header and trailer around the data, with the largest window.
  private static let format: Int32 = 15 + 16
  private static let chunk = 1 << 18

  /// Compresses into one member.
  static func member(_ bytes: [UInt8]) -> [UInt8] {
    var stream = z_stream()
    precondition(CZlib_deflateInit2(&stream, Z_DEFAULT_COMPRESSION, format) == Z_OK, "zlib has no memory")
    defer { deflateEnd(&stream) }
    var result: [UInt8] = []
    var taken = 0
    var status = Z_OK
    bytes.withUnsafeBufferPointer { input in
      while status != Z_STREAM_END {
        // In parts, because zlib counts with 32 bits.
        let part = min(input.count - taken, 1 << 30)
        stream.next_in = input.baseAddress.map { UnsafeMutablePointer(mutating: $0 + taken) }
        stream.avail_in = UInt32(part)
        let isLast = taken + part == input.count
        result.append(
          contentsOf: [UInt8](unsafeUninitializedCapacity: chunk) { output, count in
            stream.next_out = output.baseAddress
            stream.avail_out = UInt32(chunk)
            status = deflate(&stream, isLast ? Z_FINISH : Z_NO_FLUSH)
            count = chunk - Int(stream.avail_out)
          })
        taken += part - Int(stream.avail_in)
      }
    }
    return result
  }

  /// How many bytes of a file are whole members, its checksums right; what follows is torn, or no gzip.
  static func lengthOfWholeMembers(_ file: Descriptor) throws(SystemError) -> Int {
    var stream = z_stream()
    precondition(CZlib_inflateInit2(&stream, format) == Z_OK, "zlib has no memory")
    defer { inflateEnd(&stream) }
    var waste = [UInt8](repeating: 0, count: chunk)
    var (whole, position) = (0, 0)
    while true {
      var bytes = try file.read(chunk, at: position)
      if bytes.isEmpty { return whole }
      let (end, isSound) = inflateAll(&bytes, &stream, &waste)
      if let end { whole = position + end }
      if !isSound { return whole }
      position += bytes.count
    }
  }

  /// Inflates to nowhere; returns where the last member in it ends, and whether all of it is gzip.
  private static func inflateAll(
    _ bytes: inout [UInt8], _ stream: inout z_stream, _ waste: inout [UInt8]
  ) -> (end: Int?, isSound: Bool) {
    bytes.withUnsafeMutableBufferPointer { input in
      waste.withUnsafeMutableBufferPointer { output in
        var end: Int?
        stream.next_in = input.baseAddress
        stream.avail_in = UInt32(input.count)
        repeat {
          stream.next_out = output.baseAddress
          stream.avail_out = UInt32(output.count)
          switch inflate(&stream, Z_NO_FLUSH) {
          case Z_STREAM_END:
            end = input.count - Int(stream.avail_in)
            inflateReset(&stream)
          // It has had all, and wants more.
          case Z_BUF_ERROR: return (end, true)
          case Z_OK: break
          default: return (end, false)
          }
        } while stream.avail_in > 0 || stream.avail_out == 0
        return (end, true)
      }
    }
  }
}
