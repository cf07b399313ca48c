import Crypto

/// What a batch is known by at the other side: the same for the same messages in the same stream, also after a restart.
enum BatchKey {
  /// SHA-256 in hexadecimal digits of the stream, and of each message's identity, or else of its time and body.
  static func key(_ messages: [Message], stream: StreamName) -> String {
    var hash = SHA256()
    hash.add(stream.description)
    for message in messages {
      if let identity = message.identity {
        hash.update(data: [1])
        hash.add(identity)
      } else {
        hash.update(data: [0])
        hash.add(UInt64(bitPattern: message.receivedAt))
        hash.add(message.body)
      }
    }
    return hash.finalize().map { byte in
      let digits = String(byte, radix: 16)
      return digits.count == 1 ? "0" + digits : digits
    }.joined()
  }
}

extension SHA256 {
  fileprivate mutating func add(_ number: UInt64) {
    withUnsafeBytes(of: number.littleEndian) { update(bufferPointer: $0) }
  }

  /// With its length before it, so that no two lists of texts are the same bytes.
  fileprivate mutating func add(_ text: String) {
    var text = text
    text.withUTF8 { bytes in
      add(UInt64(bytes.count))
      update(bufferPointer: UnsafeRawBufferPointer(bytes))
    }
  }
}
