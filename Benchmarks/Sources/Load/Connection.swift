import Foundation

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

struct LoadError: Error, CustomStringConvertible {
  let description: String
}

/// A keep-alive connection that blocks: a request, its answer, the next request.
///
/// Plain sockets, because the client shares the machine with what it measures and should take little of it.
struct Connection {
  private let descriptor: Int32
  private var buffer = [UInt8](repeating: 0, count: 4096)

  init(port: UInt16) throws {
    descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    let connected = withUnsafePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
    guard connected == 0 else {
      close()
      throw LoadError(description: "nobody listens on port \(port)")
    }
    var one: Int32 = 1
    setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &one, socklen_t(MemoryLayout<Int32>.size))
  }

  func close() {
    #if canImport(Glibc)
      _ = Glibc.close(descriptor)
    #else
      _ = Darwin.close(descriptor)
    #endif
  }

  /// Sends a request and waits for its answer, which has to be 200 and to fit into the buffer.
  mutating func exchange(_ request: [UInt8]) throws {
    var sent = 0
    while sent < request.count {
      let more = request.withUnsafeBytes { send(descriptor, $0.baseAddress.map { $0 + sent }, $0.count - sent, 0) }
      guard more > 0 else { throw LoadError(description: "the connection broke while sending") }
      sent += more
    }
    var length = 0
    while true {
      let more = buffer.withUnsafeMutableBytes {
        recv(descriptor, $0.baseAddress.map { $0 + length }, $0.count - length, 0)
      }
      guard more > 0 else { throw LoadError(description: "the connection broke before the answer was there") }
      length += more
      if try isAnswer(length) { return }
    }
  }

  private func isAnswer(_ length: Int) throws -> Bool {
    let text = String(decoding: buffer[..<length], as: UTF8.self).lowercased()
    guard let end = text.range(of: "\r\n\r\n"), let field = text.range(of: "content-length: ") else { return false }
    let digits = text[field.upperBound...].prefix { $0.isNumber }
    guard text[end.upperBound...].utf8.count >= Int(digits) ?? 0 else { return false }
    guard text.hasPrefix("http/1.1 200") else { throw LoadError(description: "answered: \(text)") }
    return true
  }
}
